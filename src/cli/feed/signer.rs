//! Signs tokens for whoever was given none, where the service wants one: a feed may go on for longer than a token does.

use crate::cli::remote::own;
use crate::cli::token::of_operator;
use crate::settings::Settings;
use anyhow::{Context, Result, anyhow};
use refold_domain::users::Role;
use reqwest::header::HeaderValue;
use std::cell::RefCell;

/// How the service knows who it was that did this.
const OPERATOR: &str = "feed";

/// Signs tokens, with the secret of the settings.
#[derive(Debug)]
pub(super) struct Signer {
    /// None, where a token was given.
    settings: Option<Result<Settings>>,
    /// The last one.
    signed: RefCell<Option<HeaderValue>>,
}

impl Signer {
    /// One that signs.
    pub(super) fn new(settings: Result<Settings>) -> Self {
        Self { settings: Some(settings), signed: RefCell::default() }
    }

    /// One that need not.
    pub(super) fn idle() -> Self {
        Self { settings: None, signed: RefCell::default() }
    }

    /// Where the service of the settings is, if they say so. It is the only one that should be shown a token of theirs, unless
    /// somebody says where to go.
    pub(super) fn place(&self) -> Option<reqwest::Url> {
        let Some(Ok(settings)) = &self.settings else { return None };
        own(settings.http.listen).ok()
    }

    /// The token that was signed last, for a command that begins. Its repeats keep to it: a key that comes from somebody else
    /// is another key.
    pub(super) fn last(&self) -> Option<HeaderValue> {
        self.signed.borrow().clone()
    }

    /// Another token than one that was refused. None, where a token was given.
    ///
    /// # Errors
    /// Where none can be signed.
    pub(super) fn instead(&self, refused: Option<&HeaderValue>) -> Result<Option<HeaderValue>> {
        let Some(settings) = &self.settings else { return Ok(None) };
        let last = self.last();
        if last.as_ref() != refused {
            return Ok(last);
        }
        let settings = settings.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        // What a feed sends users may send, unless [access] was changed.
        let token = of_operator(settings, Role::User, OPERATOR)?;
        let bearer = HeaderValue::try_from(format!("Bearer {token}"));
        let mut bearer = bearer.context("a token was signed that no header can carry")?;
        bearer.set_sensitive(true);
        self.signed.replace(Some(bearer.clone()));
        Ok(Some(bearer))
    }
}
