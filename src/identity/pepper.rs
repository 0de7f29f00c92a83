//! The pepper and what it makes of keys. Who steals the config or the ledger without this file cannot
//! even test a guessed key.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::section::KeyProof;

/// 32 secret bytes that make hashes of keys worthless elsewhere. They live in a file beside the ledger,
/// never in the config or a store.
#[derive(Clone)]
pub struct Pepper {
    /// HMAC with the pepper already worked in: cloning it saves half of each hash.
    keyed: Hmac<Sha256>,
}

/// `HMAC-SHA256(pepper, whole key)`. Two of them compare in constant time.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl Pepper {
    /// Where a data folder keeps its pepper.
    #[must_use]
    pub fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join("pepper")
    }

    /// Reads the pepper file.
    ///
    /// # Errors
    /// When the file cannot be read, is readable by everyone, or does not hold 64 hex digits.
    pub fn load(path: &Path) -> Result<Self, PepperFault> {
        read(path)
    }

    /// Reads the pepper file, or makes one on first use.
    ///
    /// # Errors
    /// When the file cannot be read or made, is readable by everyone, or does not hold 64 hex digits.
    pub fn load_or_create(path: &Path) -> Result<Self, PepperFault> {
        match read(path) {
            Err(PepperFault::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                create(path)?;
                read(path)
            }
            done => done,
        }
    }

    /// A pepper of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self { keyed: Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length") }
    }

    /// The keyed hash of the whole key: no prefix of it identifies anybody (FAULTS 4.1).
    #[must_use]
    pub fn hash(&self, key: &str) -> KeyHash {
        let mut mac = self.keyed.clone();
        mac.update(key.as_bytes());
        KeyHash(mac.finalize().into_bytes().into())
    }

    /// The keyed hash of a key as the config tells it: written out, or hashed here from the referred secret.
    ///
    /// # Errors
    /// When the entry has both or neither, or the hash is not one.
    pub fn prove(&self, proof: &KeyProof) -> Result<KeyHash, ProofFault> {
        match (&proof.hash, &proof.key) {
            (Some(hash), None) => Ok(hash.parse()?),
            (None, Some(key)) if key.expose().is_empty() => Err(ProofFault::Empty),
            (None, Some(key)) => Ok(self.hash(key.expose())),
            (Some(_), Some(_)) => Err(ProofFault::Both),
            (None, None) => Err(ProofFault::Neither),
        }
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// Why there is no pepper.
#[derive(Debug, thiserror::Error)]
pub enum PepperFault {
    /// The file system said no.
    #[error("cannot use the pepper file {path}: {error}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others on this machine could read or change it.
    #[error("the pepper file {path} has mode {mode:03o}, so others can use it: chmod 600 {path}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else is in the file.
    #[error("the pepper file {path} does not hold 64 hex digits", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system has no randomness.
    #[error(transparent)]
    NoEntropy(#[from] super::NoEntropy),
}

/// Why a key's entry in the config proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// Both ways at once.
    #[error("has both `hash` and `key`: keep one")]
    Both,
    /// No way at all.
    #[error("has neither `hash` nor `key`: run `tollgate keys new TEAM/NAME` and paste its line")]
    Neither,
    /// The secret that `key` refers to is empty.
    #[error("refers to an empty key")]
    Empty,
    /// The hash is not one.
    #[error(transparent)]
    Hash(#[from] NotAKeyHash),
}

/// The text is not a key hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key hash: expected `hmac-sha256:` and 64 hex digits, as `tollgate keys new` prints it")]
pub struct NotAKeyHash;

impl FromStr for KeyHash {
    type Err = NotAKeyHash;

    fn from_str(text: &str) -> Result<Self, NotAKeyHash> {
        text.trim().strip_prefix(SCHEME).and_then(from_hex).map(Self).ok_or(NotAKeyHash)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

fn read(path: &Path) -> Result<Pepper, PepperFault> {
    let fault = |error| PepperFault::Io { path: path.into(), error };
    let file = File::open(path).map_err(fault)?;
    let found = file.metadata().map_err(fault)?;
    if !found.is_file() {
        return Err(PepperFault::Malformed { path: path.into() });
    }
    let mode = found.mode() & 0o777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(PepperFault::Open { path: path.into(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE).read_to_string(&mut text).map_err(fault)?;
    let bytes = from_hex(text.trim()).ok_or_else(|| PepperFault::Malformed { path: path.into() })?;
    Ok(Pepper::from_bytes(&Zeroizing::new(bytes)))
}

/// Writes a new pepper under another name and links it into place: whoever reads `path` finds a whole
/// pepper, and of two processes that start together one wins and both use its pepper.
fn create(path: &Path) -> Result<(), PepperFault> {
    let fault = |error| PepperFault::Io { path: path.into(), error };
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| super::NoEntropy)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    let draft = path.with_extension(format!("draft-{:x}", getrandom::u64().map_err(|_| super::NoEntropy)?));
    let written = write_draft(&draft, bytes.as_ref()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&draft);
    written.and(removed).map_err(fault)
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    for byte in bytes {
        write!(file, "{byte:02x}")?;
    }
    writeln!(file)?;
    file.sync_all()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks();
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok().filter(|_| rest.is_empty())?;
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

const SCHEME: &str = "hmac-sha256:";
/// Others may do nothing; the group may read, because mounted secrets often belong to a group.
const FORBIDDEN_MODE: u32 = 0o037;
/// Longer than any pepper file that is one.
const MAX_FILE: u64 = 256;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::base::secret::Secret;

    fn pepper() -> Pepper {
        Pepper::from_bytes(&[7; 32])
    }

    #[test]
    fn the_pepper_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/pepper");
        let first = Pepper::load_or_create(&path).unwrap();
        let again = Pepper::load_or_create(&path).unwrap();
        assert_eq!(first.hash("key"), again.hash("key"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft stays");
    }

    #[test]
    fn many_that_start_together_agree_on_one_pepper() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pepper");
        let hashes: Vec<_> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| Pepper::load_or_create(&path).unwrap().hash("key"));
            let started: Vec<_> = (0..8).map(|_| start()).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let kept = Pepper::load_or_create(&path).unwrap().hash("key");
        assert!(hashes.iter().all(|hash| *hash == kept));
    }

    #[test]
    fn a_pepper_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pepper");
        Pepper::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let fault = Pepper::load_or_create(&path).unwrap_err();
        assert!(matches!(fault, PepperFault::Open { mode: 0o644, .. }));
        assert!(fault.to_string().contains("chmod 600"));
    }

    #[test]
    fn a_damaged_pepper_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pepper");
        fs::write(&path, "abc").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Pepper::load_or_create(&path), Err(PepperFault::Malformed { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
    }

    #[test]
    fn the_whole_key_counts() {
        let same_start = "tg-aaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let hash = |end: &str| pepper().hash(&format!("{same_start}{end}"));
        assert_eq!(hash("x"), hash("x"));
        for other in ["y", "", "x ", "X", "xx", "x\0"] {
            assert_ne!(hash("x"), hash(other), "{other:?}");
        }
    }

    #[test]
    fn the_hash_is_hmac_sha256_and_reads_back() {
        // RFC 4231, test case 2, with its short key padded to the block as HMAC does
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let hash = Pepper::from_bytes(&key).hash("what do ya want for nothing?");
        let text = "hmac-sha256:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        for bad in ["", "5bdc", "hmac-sha256:", "hmac-sha256:zz", "sha256:5b"] {
            assert_eq!(bad.parse::<KeyHash>(), Err(NotAKeyHash));
        }
    }

    #[test]
    fn an_entry_proves_itself_in_exactly_one_way() {
        let hash = pepper().hash("key");
        let key = |text: &str| Some(Secret::new(text.into()));
        let prove = |hash, key| pepper().prove(&KeyProof { hash, key });
        assert_eq!(prove(Some(hash.to_string()), None), Ok(hash));
        assert_eq!(prove(None, key("key")), Ok(hash));
        assert_eq!(prove(None, key("")), Err(ProofFault::Empty));
        assert_eq!(prove(None, None), Err(ProofFault::Neither));
        assert_eq!(prove(Some(hash.to_string()), key("key")), Err(ProofFault::Both));
        assert_eq!(prove(Some("x".into()), None), Err(ProofFault::Hash(NotAKeyHash)));
    }
}
