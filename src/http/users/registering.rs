//! Commands that bring a password: it is hashed only when nothing else stands in the way, and told from another only by
//! its hash, for anything faster in the log would help who guesses.

use super::*;
use crate::access::accounts::Unchecked;
use crate::commands;
use refold_domain::users::Password;
use serde::Deserialize;

impl Users {
    /// Registers a user, or answers as when they registered under the same key.
    pub(super) async fn registered(
        &self,
        request: &Request,
        call: &Call,
        registration: &Registration,
    ) -> Result<Recorded, Problem> {
        let name = normalised(&registration.username);
        let id = call.new_id().to_string();
        let streams = vec![users::stream(&name), users::email_stream(&registration.email)];
        // The password is not in what is hashed of a registration.
        let asked = call.request(stream::USERS.into(), registration, streams);
        let command = |hash| Command::Register(Box::new(registration.registered(id.clone(), hash)));
        let recorded = self.hashed(&asked, &name, &registration.password, command).await?;
        if recorded.is_repeat() {
            let repeated = self.repeated(&name, 0, &registration.password).await;
            repeated.inspect_err(|wrong| wrong.tell(request, Some(&name)))?;
        }
        Ok(recorded)
    }

    /// Gives a user another password, or answers as when they got it under the same key.
    pub(super) async fn changed(
        &self,
        request: &Request,
        call: &Call,
        user: User,
        change: PasswordChange,
    ) -> Result<Recorded, Problem> {
        let name = normalised(&user.registered.username);
        let asked = call.request(stream::USERS.into(), &call.route(), vec![users::stream(&name)]);
        let from = user.password_changes;
        let command = |password| Command::ChangePassword { from, password };
        // Of a repeat, the password that was current is not so any more.
        let recorded = match self.0.commands.foresee(&asked, deciding(&name, &command(String::new()))).await?
        {
            Some(recorded) => recorded,
            None => {
                let current = self.current(&name, from, change.current).await;
                current.inspect_err(|wrong| wrong.tell(request, None))?;
                self.hashed(&asked, &name, &change.new, command).await?
            }
        };
        let Counted { password_changes } = data(&recorded)?;
        if recorded.is_repeat() {
            let repeated = self.repeated(&name, password_changes, &change.new).await;
            repeated.inspect_err(|wrong| wrong.tell(request, None))?;
        }
        Ok(recorded)
    }

    /// Executes a command with the hash of a password. Who waits in vain does not wait for the hash.
    async fn hashed(
        &self,
        request: &commands::Request,
        name: &str,
        password: &Password,
        command: impl Fn(String) -> Command,
    ) -> Result<Recorded, Problem> {
        let unhashed = command(String::new());
        let foresee = || self.0.commands.foresee(request, deciding(name, &unhashed));
        if let Some(recorded) = foresee().await? {
            return Ok(recorded);
        }
        let turn = self.0.users.turn().await.map_err(Unchecked::from)?;
        // Others may have been faster while this one waited.
        if let Some(recorded) = foresee().await? {
            return Ok(recorded);
        }
        let hash = turn.hash(password.clone()).await.map_err(CommandError::Failed)?;
        let recorded = self.0.commands.execute(request, deciding(name, &command(hash))).await;
        self.0.users.changed(name);
        Ok(recorded?)
    }

    /// Holds a password to being the present one.
    async fn current(&self, name: &str, changes: u64, password: Password) -> Result<(), Wrong> {
        match self.0.users.check(name, Some(password)).await? {
            Checked::Theirs(user) if user.password_changes == changes => Ok(()),
            _ => Err(Wrong::Current),
        }
    }

    /// Holds a repeat to the password that it brings. Once it was changed, nobody can say what it was.
    async fn repeated(&self, name: &str, changes: u64, password: &Password) -> Result<(), Wrong> {
        let (user, _) = self.0.users.find(name).await.map_err(Unchecked::from)?;
        if user.is_none_or(|user| user.password_changes != changes) {
            return Ok(());
        }
        match self.0.users.check(name, Some(password.clone())).await? {
            Checked::Theirs(_) => Ok(()),
            Checked::Wrong(_) => Err(Wrong::Repeat),
        }
    }
}

/// Why a password does not do.
enum Wrong {
    /// It is not the present one.
    Current,
    /// It is another than that of the first time.
    Repeat,
    /// It was not looked at.
    Unchecked(Unchecked),
}

impl Wrong {
    /// Tells the audit of a password that was tried.
    fn tell(&self, request: &Request, subject: Option<&str>) {
        match self {
            Self::Current | Self::Repeat => audit::password(request, subject, Ended::Refused),
            Self::Unchecked(Unchecked::TooMany(_)) => audit::password(request, subject, Ended::Limited),
            Self::Unchecked(_) => {}
        }
    }
}

impl From<Unchecked> for Wrong {
    fn from(unchecked: Unchecked) -> Self {
        Self::Unchecked(unchecked)
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Current => {
                let (field, reason) = ("current".into(), "is not your password".into());
                Self::validation(vec![FieldError { field, reason }])
            }
            Wrong::Repeat => CommandError::KeyReused.into(),
            Wrong::Unchecked(unchecked) => unchecked.into(),
        }
    }
}

/// What is public of a change of the password.
#[derive(Deserialize)]
struct Counted {
    password_changes: u64,
}
