//! Users: they register, look at themselves and change their password; admins list them, shut them out and let them in.

mod registering;
mod shown;

use super::Tag;
use super::audit::{self, Ended};
use super::authorization::Denied;
use super::body::Body;
use super::failure::{Failure, Querying, Reading, Statuses};
use super::problem::Problem;
use super::reading::{PAGE_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX, wait_for_receipts};
use super::recording::{Call, data};
use crate::access::Caller;
use crate::access::accounts::Checked;
use crate::commands::{CommandError, Recorded, Streams};
use crate::service::Service;
use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query as Parameter};
use poem_openapi::payload::Json;
use refold_domain::decision::{Decision, Rejection};
use refold_domain::hash::partition_of;
use refold_domain::log::Offset;
use refold_domain::stream;
use refold_domain::users::{
    self, About, Command, PasswordChange, Registration, Role, User, Versions, normalised,
};
use refold_domain::validation::FieldError;
use refold_projections::cursor;
use refold_projections::query::Reached;
use refold_projections::store::Limit;
use shown::{Listed, Made, Myself, Page, Registered, Shut, Someone, Theirs};
use std::sync::Arc;

/// The routes of the users.
pub struct Users(pub Arc<Service>);

#[OpenApi(tag = "Tag::Users")]
impl Users {
    /// Register
    ///
    /// User name and e-mail address are each taken once, in whatever case they are written. Only an admin registers an
    /// admin. The password counts for a repeat under an `Idempotency-Key`, too, as long as it was not changed.
    #[oai(path = "/users", method = "post")]
    async fn register(
        &self,
        request: &Request,
        Body(registration): Body<Registration>,
    ) -> Result<Made, Failure<Registering>> {
        let call = Call::of(request, "POST /users")?;
        if registration.role == Role::Admin && !is_admin(request) {
            return Err(Denied::Beyond("only an admin registers an admin").told(request).into());
        }
        let recorded = self.registered(request, &call, &registration).await?;
        if is_admin(request) && !recorded.is_repeat() {
            let act = if registration.role == Role::Admin { "register admin" } else { "register user" };
            audit::act(request, act, &registration.username);
        }
        let About { id } = data(&recorded)?;
        Ok(Made::Created(Json(Registered { id }), recorded.receipt.to_string()))
    }

    /// All users, by name
    #[oai(path = "/users", method = "get")]
    async fn list(
        &self,
        request: &Request,
        /// How many users to answer at most, 100 unless said
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Parameter<Option<u32>>,
        /// Where to go on: `next` of the last page
        cursor: Parameter<Option<String>>,
    ) -> Result<Listed, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let question = (stream::USERS, self.0.progress.log());
        let after = cursor.0.as_deref().map(|cursor| {
            let name = cursor::open(&question, cursor).and_then(|name| String::from_utf8(name).ok());
            name.ok_or_else(|| Problem::parameter("cursor", "is not one of this list: begin without it"))
        });
        let entries = limit.0.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX) as usize;
        let limit = Limit { entries, bytes: PAGE_BYTES_MAX };
        let found = self.0.users.page(after.transpose()?.as_deref(), limit).await?;
        let position = self.position(found.at, &reached)?;
        let next = found.next.map(|name| cursor::seal(&question, name.as_bytes()));
        let data = found.users.into_iter().map(Someone::from).collect();
        Ok(Listed::Page(Json(Page { data, next }), position))
    }

    /// Who asks
    #[oai(path = "/users/me", method = "get")]
    async fn me(&self, request: &Request) -> Result<Myself, Failure<Reading>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let (user, at) = self.caller(request).await?;
        Ok(Myself::Found(Json(Theirs::from(user)), self.position(at, &reached)?))
    }

    /// Take another password
    ///
    /// Tokens from before are not taken any more: log in again.
    #[oai(path = "/users/me/password", method = "put")]
    async fn change_password(
        &self,
        request: &Request,
        Body(change): Body<PasswordChange>,
    ) -> Result<Shut, Failure<Changing>> {
        let call = Call::of(request, "PUT /users/me/password")?;
        let (user, _) = self.caller(request).await?;
        let recorded = self.changed(request, &call, user, change).await?;
        if !recorded.is_repeat() {
            audit::password(request, None, Ended::Ok);
        }
        Ok(Shut::Done(recorded.receipt.to_string()))
    }

    /// Shut a user out
    ///
    /// Within seconds their tokens are not taken any more, and their streams end.
    #[oai(path = "/users/:username/disabled", method = "put")]
    async fn disable(
        &self,
        request: &Request,
        /// The user's name
        username: Path<String>,
    ) -> Result<Shut, Failure<Shutting>> {
        let name = normalised(&username.0);
        let call = Call::of(request, format!("PUT /users/{name}/disabled"))?;
        let recorded = self.execute(&call, &name, &Command::Disable).await?;
        audit::act(request, "disable user", &name);
        Ok(Shut::Done(recorded.receipt.to_string()))
    }

    /// Let a user in again
    #[oai(path = "/users/:username/disabled", method = "delete")]
    async fn enable(
        &self,
        request: &Request,
        /// The user's name
        username: Path<String>,
    ) -> Result<Shut, Failure<Shutting>> {
        let name = normalised(&username.0);
        let call = Call::of(request, format!("DELETE /users/{name}/disabled"))?;
        let recorded = self.execute(&call, &name, &Command::Enable).await?;
        audit::act(request, "enable user", &name);
        Ok(Shut::Done(recorded.receipt.to_string()))
    }
}

impl Users {
    async fn execute(&self, call: &Call, name: &str, command: &Command) -> Result<Recorded, CommandError> {
        let request = call.request(stream::USERS.into(), &call.route(), vec![users::stream(name)]);
        let recorded = self.0.commands.execute(&request, deciding(name, command)).await;
        self.0.users.changed(name);
        recorded
    }

    /// The user whose token the request brings, and how far their partition had come.
    async fn caller(&self, request: &Request) -> Result<(User, Offset), Problem> {
        let caller: &Caller = request.data().ok_or_else(|| Denied::Nobody.told(request))?;
        let (user, at) = self.0.users.find(&caller.username).await?;
        let user = user.filter(|user| user.registered.id == caller.id);
        let user = user.ok_or_else(|| Problem::not_found("an operator's token is no user's: log in"))?;
        Ok((user, at))
    }

    /// How far everything had come when the users were read.
    fn position(&self, at: Offset, reached: &Reached) -> Result<String, Problem> {
        let mut position = self.0.progress.position();
        let partition = partition_of(stream::USERS, self.0.progress.partitions());
        if !reached.is_met(partition, at) {
            let detail = "the store was put back while it was read: ask again";
            return Err(Problem::unavailable("folding", "The users are being folded", detail));
        }
        position.offsets[partition as usize] = Some(at);
        Ok(position.to_string())
    }
}

fn is_admin(request: &Request) -> bool {
    request.data::<Caller>().is_some_and(|caller| caller.role == Role::Admin)
}

/// Decides a command about the user of this normalised name.
fn deciding<'c>(
    name: &'c str,
    command: &'c Command,
) -> impl Fn(&Streams) -> Result<Decision, Rejection> + 'c {
    move |streams| {
        let user = streams.get(&users::stream(name));
        let at = |stream: &str| streams.get(stream).map_or(0, |entry| entry.at);
        let email = match command {
            Command::Register(registered) => at(&users::email_stream(&registered.email)),
            _ => 0,
        };
        let state: Option<User> = user
            .and_then(|entry| entry.state.as_deref())
            // What the library says of it may quote it.
            .map(|state| serde_json::from_str(state).map_err(drop))
            .map(|state| state.expect("the projector wrote what the domain made"));
        let versions = Versions { user: user.map_or(0, |entry| entry.at), email };
        users::decide(name, versions, state.as_ref(), command)
    }
}

/// Registrations.
#[derive(Debug)]
pub struct Registering;

impl Statuses for Registering {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The body is no JSON, or a parameter or header is wrong"),
        (403, "Only an admin registers an admin"),
        (408, "The body came too slowly"),
        (409, "The user name or the e-mail address is taken"),
        (413, "The body is too large"),
        (415, "The body is not application/json"),
        (422, "The body does not fit, or the Idempotency-Key was used for another command"),
        (429, "Too many repeats with another password"),
        (500, "The broker lost the command, or something is broken"),
        (503, "Not recorded, or nobody knows yet: `type` says which"),
    ];
}

/// Changes of a password.
#[derive(Debug)]
pub struct Changing;

impl Statuses for Changing {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "The body is no JSON, or a parameter or header is wrong"),
        (404, "The token is an operator's, who has no password"),
        (408, "The body came too slowly"),
        (409, "Others were faster"),
        (413, "The body is too large"),
        (415, "The body is not application/json"),
        (
            422,
            "The body does not fit, `current` is not the password, or the Idempotency-Key was used for another command",
        ),
        (429, "Too often `current` was not the password"),
        (500, "The broker lost the command, or something is broken"),
        (503, "Not recorded, or nobody knows yet: `type` says which"),
    ];
}

/// What admins do to users.
#[derive(Debug)]
pub struct Shutting;

impl Statuses for Shutting {
    const STATUSES: &'static [(u16, &'static str)] = &[
        (400, "A parameter or header is wrong"),
        (404, "There is no such user"),
        (409, "Others were faster"),
        (422, "The Idempotency-Key was used for another command"),
        (500, "The broker lost the command, or something is broken"),
        (503, "Not recorded, or nobody knows yet: `type` says which"),
    ];
}
