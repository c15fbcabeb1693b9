//! A case: what every broker must do, run with each of them as `broker::case`.

use crate::brokers::UnderTest;
use futures::future::BoxFuture;

/// One case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(UnderTest) -> BoxFuture<'static, ()>,
    /// Whether it is about a server: a broker without one has no such case.
    pub(crate) needs_server: bool,
    /// Whether it disturbs the server, and so needs one of its own.
    pub(crate) disturbs: bool,
}

/// A list of cases: async functions that take what is under test.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { $crate::case::cases!(needs_server: false, disturbs: false, $($case),*) };
    (needs_server: $server:literal, disturbs: $disturbs:literal, $($case:ident),* $(,)?) => {
        &[$($crate::case::Case {
            name: stringify!($case),
            run: |test| Box::pin($case(test)),
            needs_server: $server,
            disturbs: $disturbs,
        }),*]
    };
}

pub(crate) use cases;
