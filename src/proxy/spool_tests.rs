use std::io::Write as _;

use http_body_util::BodyExt as _;

use super::*;
use crate::dialect::request::RequestFacts;

async fn spool(bytes: &[u8], is_sized: bool) -> (Arc<Spool>, tempfile::TempDir, Spools) {
    let folder = tempfile::tempdir().unwrap();
    let spools = Spools::new(folder.path().into(), 1 << 20);
    let room = spools.room(1 << 20).await.unwrap();
    let mut file = spools.file().await.unwrap().into_std().await;
    file.write_all(bytes).unwrap();
    let length = bytes.len() as u64;
    (Arc::new(Spool { file, length, is_sized, _room: room }), folder, spools)
}

fn upload(bytes: &[u8]) -> Arc<Upload> {
    Arc::new(Upload::new(Some(bytes.len() as u64), &RequestFacts::default(), 0))
}

/// More than one piece.
fn bytes() -> Vec<u8> {
    (0..600_000_u32).map(|count| count.to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn a_form_on_the_disk_can_be_sent_again_and_changed_at_any_place() {
    let bytes = bytes();
    let (spool, _folder, _spools) = spool(&bytes, true).await;
    for range in [0..0, 0..5, 262_140..262_150, 599_990..600_000, 600_000..600_000] {
        let edit = Edit { range: range.clone(), text: b"another".to_vec() };
        let edited = [&bytes[..range.start], b"another", &bytes[range.end..]].concat();
        let upload = upload(&bytes);
        let (body, _) = Arc::clone(&spool).body(Some(edit), Arc::clone(&upload));
        assert_eq!(body.size_hint().exact(), Some(edited.len() as u64));
        assert!(!upload.is_whole());
        assert!(body.collect().await.unwrap().to_bytes() == edited, "{range:?}");
        assert!(upload.is_whole());
    }
    let (body, progress) = Arc::clone(&spool).body(None, upload(&bytes));
    assert!(body.collect().await.unwrap().to_bytes() == bytes);
    assert!(progress.has_changed().is_err(), "word of the end");
}

#[tokio::test]
async fn what_came_without_a_length_goes_without_one() {
    let bytes = bytes();
    let (spool, _folder, _spools) = spool(&bytes, false).await;
    let (body, _) = spool.body(None, upload(&bytes));
    assert_eq!(body.size_hint().exact(), None);
    assert!(body.collect().await.unwrap().to_bytes() == bytes);
}

#[tokio::test]
async fn a_file_that_lost_bytes_is_no_whole_form() {
    let bytes = bytes();
    let (spool, _folder, _spools) = spool(&bytes, true).await;
    spool.file.set_len(300_000).unwrap();
    let upload = upload(&bytes);
    let (body, _) = spool.body(None, Arc::clone(&upload));
    assert!(body.collect().await.is_err());
    assert!(!upload.is_whole());
    assert_eq!(upload.fault().unwrap().face().code, "upload_not_stored");
}

#[tokio::test]
async fn room_comes_back_with_the_form() {
    let (spool, folder, spools) = spool(b"", true).await;
    assert_eq!(spools.room.available_permits(), 0);
    drop(spool);
    assert_eq!(spools.room.available_permits(), 1 << 10);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it never had a name");
}

#[tokio::test]
async fn of_forms_that_lack_room_one_waits_and_the_others_give_theirs_back() {
    let spools = Spools::new(PathBuf::new(), 2 * KIB);
    let (_first, second) = (spools.room(KIB).await.unwrap(), spools.room(KIB).await.unwrap());
    let mut more = std::pin::pin!(spools.more_room(KIB));
    assert!(timeout(Duration::ZERO, &mut more).await.is_err(), "it waits");
    assert!(matches!(spools.more_room(KIB).await, Err(Refusal::UploadsFull)));
    drop(second);
    assert!(more.await.is_ok());
    assert!(spools.more_room(KIB).await.is_ok(), "the turn was given back");
}
