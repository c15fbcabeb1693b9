//! A case: what every broker must do, run with each of them as `broker::case`.

use crate::brokers::UnderTest;
use futures::future::BoxFuture;

/// One case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(UnderTest) -> BoxFuture<'static, ()>,
    /// Whether it disturbs the server, and so needs one of its own; a broker without a server has no such case.
    pub(crate) disturbs: bool,
}

/// A list of cases: async functions that take what is under test.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { $crate::case::cases!(disturbs: false, $($case),*) };
    (disturbs: $disturbs:literal, $($case:ident),* $(,)?) => {
        &[$($crate::case::Case {
            name: stringify!($case),
            run: |test| Box::pin($case(test)),
            disturbs: $disturbs,
        }),*]
    };
}

pub(crate) use cases;
