//! Whether another target may be tried. Only ever before the first byte of an answer went to the client.

/// What one attempt came to, as far as the rule cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// An answer's head with this status.
    Answered(u16),
    /// No connection was made: the upstream did not see the request.
    NotConnected,
    /// The upstream may have seen the request, but no answer came.
    NoAnswer,
    /// The client's own body broke: nobody can be asked again.
    BodyBroken,
}

/// Whether the next target is worth trying: on connect errors, silence, 429 and 5xx.
#[must_use]
pub const fn tries_next(end: AttemptEnd) -> bool {
    match end {
        AttemptEnd::Answered(status) => status == 429 || status >= 500,
        AttemptEnd::NotConnected | AttemptEnd::NoAnswer => true,
        AttemptEnd::BodyBroken => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_another_target_can_mend_is_tried_there() {
        for status in [200, 302, 400, 401, 402, 403, 404, 409, 422] {
            assert!(!tries_next(AttemptEnd::Answered(status)), "{status}");
        }
        for status in [429, 500, 502, 503, 504, 529] {
            assert!(tries_next(AttemptEnd::Answered(status)), "{status}");
        }
        assert!(tries_next(AttemptEnd::NotConnected) && tries_next(AttemptEnd::NoAnswer));
        assert!(!tries_next(AttemptEnd::BodyBroken));
    }
}
