//! An upstream's body that is still coming, and small ones read whole.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::AnswerBody;
use crate::dialect::unask::Unask;
use crate::signals::Active;
use crate::upstream::answer::Incoming;
use crate::upstream::endpoint::Draining;

/// An upstream's body that is still coming.
#[derive(Debug)]
pub(in crate::proxy) struct Live<B = Incoming> {
    pub(in crate::proxy) incoming: B,
    pub(in crate::proxy) unask: Option<Unask>,
    pub(in crate::proxy) idle_timeout: Duration,
    /// How far it is read if the client leaves.
    pub(in crate::proxy) draining: Draining,
    /// Counts the attempt as active until the last byte.
    pub(in crate::proxy) active: Active,
}

impl Live {
    /// Reads a body of known, small size whole. One that comes in pieces of unknown number is not held
    /// back: the upstream may be keeping the connection alive with them.
    pub(in crate::proxy) async fn gather_if_small(mut self, headers: &HeaderMap) -> AnswerBody {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let is_small =
            announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|size| size <= SMALL);
        if !is_small || self.incoming.size_hint().exact().is_none_or(|size| size > SMALL as u64) {
            return AnswerBody::Live(self);
        }
        let mut whole = BytesMut::new();
        loop {
            let error = match timeout(self.idle_timeout, self.incoming.frame()).await {
                Ok(None) => return AnswerBody::Whole(whole.freeze()),
                Ok(Some(Ok(frame))) => {
                    whole.extend_from_slice(frame.data_ref().map_or(&[], |data: &Bytes| data));
                    continue;
                }
                Ok(Some(Err(_))) => BROKEN_OFF,
                Err(_) => FELL_SILENT,
            };
            return AnswerBody::Cut { sent: whole.freeze(), error };
        }
    }
}

/// `error.type` of an answer that broke off, and of one that fell silent.
pub(super) const BROKEN_OFF: &str = "upstream_stream_interrupted";
pub(super) const FELL_SILENT: &str = "upstream_idle_timeout";

/// Answers up to this size are read whole.
const SMALL: usize = 256 << 10;
