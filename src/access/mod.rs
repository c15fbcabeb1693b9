//! Who asks, and what they may ask for.

use refold_domain::users::Role;

/// Who asks: what a sound token says, where its user may still come in. The request carries it as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's id; the scope of their idempotency keys.
    pub id: String,
    /// The user's name, as it was registered.
    pub username: String,
    /// What they may do.
    pub role: Role,
}
