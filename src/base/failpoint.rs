//! Named places on a request's way where a build for tests can end the process, as `kill -9` would. In all
//! other builds they are nothing (cargo feature `failpoints`; what each leaves: docs/RELIABILITY.md).

/// A place on the way of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// The caller is known.
    AfterAuth,
    /// Limits are taken, budgets hold what it may need.
    AfterReserve,
    /// The intent is in the journal.
    AfterIntent,
    /// A new connection to the upstream stands; nothing was sent on it.
    AfterConnect,
    /// The head of the answer has come.
    AfterFirstByte,
    /// Part of the answer went out, more has come.
    MidStream,
    /// The upstream has reported the usage.
    AfterUsage,
    /// The answer has ended; nothing is settled.
    BeforeSettle,
    /// The row is in a transaction that is not committed.
    MidCommit,
    /// The row is committed, and the client has not got the end of its answer.
    AfterCommitBeforeClientEnd,
}

impl Failpoint {
    /// Every point, in the order of the walk.
    pub const ALL: [Self; 10] = [
        Self::AfterAuth,
        Self::AfterReserve,
        Self::AfterIntent,
        Self::AfterConnect,
        Self::AfterFirstByte,
        Self::MidStream,
        Self::AfterUsage,
        Self::BeforeSettle,
        Self::MidCommit,
        Self::AfterCommitBeforeClientEnd,
    ];

    /// The name by which it is armed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterAuth => "after-auth",
            Self::AfterReserve => "after-reserve",
            Self::AfterIntent => "after-intent",
            Self::AfterConnect => "after-connect",
            Self::AfterFirstByte => "after-first-byte",
            Self::MidStream => "mid-stream",
            Self::AfterUsage => "after-usage",
            Self::BeforeSettle => "before-settle",
            Self::MidCommit => "mid-commit",
            Self::AfterCommitBeforeClientEnd => "after-commit-before-client-end",
        }
    }

    /// Ends the process here, if this point is armed.
    #[inline]
    pub fn reach(self) {
        #[cfg(feature = "failpoints")]
        if armed::is(self) {
            std::process::abort();
        }
    }

    /// Goes no further here, if this point is armed: what it is about happens on another thread.
    #[inline]
    pub fn wait_for_it(self) {
        #[cfg(feature = "failpoints")]
        while armed::is(self) {
            std::thread::park();
        }
    }
}

#[cfg(feature = "failpoints")]
pub use armed::arm;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;

    use super::Failpoint;

    static ARMED: OnceLock<Failpoint> = OnceLock::new();

    /// Arms the point of this name, for the life of the process. Returns whether there is one, and no
    /// other is armed.
    #[must_use]
    pub fn arm(name: &str) -> bool {
        let found = Failpoint::ALL.into_iter().find(|point| point.as_str() == name);
        found.is_some_and(|point| ARMED.set(point).is_ok())
    }

    pub(super) fn is(point: Failpoint) -> bool {
        ARMED.get() == Some(&point)
    }
}
