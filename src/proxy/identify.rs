//! Second step: whose key this is. Before the body is read, so that strangers cost nothing.

use http::HeaderMap;

use super::error::Refusal;
use super::exchange::Exchange;
use crate::identity::{NoKey, presented_key};

/// Finds the caller's account, or refuses.
pub(super) fn identify(x: &mut Exchange, headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(open) = &x.policy.open {
        x.account = Some(open.clone());
    } else {
        let presented = presented_key(headers).map_err(|fault| match fault {
            NoKey::Missing => Refusal::MissingKey,
            NoKey::Several | NoKey::Malformed => Refusal::MalformedKey,
        })?;
        let entry = x.policy.directory.find(presented).ok_or(Refusal::UnknownKey)?;
        let account = entry.value.clone();
        x.account = Some(account);
    }
    let Some(account) = x.account.clone() else { return Err(Refusal::UnknownKey) };
    x.record.team.clone_from(&account.team);
    x.record.key.clone_from(&account.key);
    match &account.rules {
        Some(rules) if rules.expired(x.now()) => Err(Refusal::ExpiredKey),
        _ => Ok(()),
    }
}
