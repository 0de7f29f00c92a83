//! Floor 4, the admin door: health, metrics, API.
