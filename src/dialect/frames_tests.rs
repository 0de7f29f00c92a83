use super::*;

/// Everything that is read of bytes that come in pieces of this size: heads, payloads and ends.
fn read_in(pieces: usize, bytes: &[u8]) -> Result<Vec<(Frame, Vec<u8>)>, NotFrames> {
    let (mut frames, mut found, mut payload) = (Frames::default(), Vec::new(), Vec::new());
    for piece in bytes.chunks(pieces) {
        let mut rest = piece;
        loop {
            let (taken, seen) = frames.read(rest)?;
            rest = &rest[taken..];
            match seen {
                Seen::Nothing => break,
                Seen::Began(_) => payload.clear(),
                Seen::Payload(plain) => payload.extend_from_slice(plain),
                Seen::Ended(frame) => found.push((frame, payload.clone())),
            }
        }
    }
    Ok(found)
}

#[test]
fn frames_are_the_same_wherever_they_are_cut() {
    let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
    let long: Vec<u8> = (0..70_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut bytes = Vec::new();
    for (opcode, payload, is_last) in [
        (Opcode::Text, &b"Hello"[..], false),
        (Opcode::Ping, b"are you there", true),
        (Opcode::Continuation, b"", false),
        (Opcode::Continuation, &long[..300], true),
        (Opcode::Binary, &long, true),
        (Opcode::Close, &closing(1000, "bye"), true),
    ] {
        bytes.extend(piece_of_message(opcode, payload, mask, is_last));
    }
    let whole = read_in(bytes.len(), &bytes).unwrap();
    assert_eq!(whole.len(), 6);
    assert_eq!((whole[0].1.as_slice(), whole[3].1.len(), whole[4].1 == long), (&b"Hello"[..], 300, true));
    for size in [1, 2, 3, 5, 13, 127, 1_000] {
        assert_eq!(read_in(size, &bytes).unwrap(), whole, "in pieces of {size}");
    }
}

#[test]
fn the_examples_of_the_standard_are_read() {
    // RFC 6455, 5.7
    for (bytes, payload) in [
        (&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f][..], "Hello"),
        (&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], "Hello"),
        (&[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], "Hello"),
    ] {
        assert_eq!(read_in(1, bytes).unwrap()[0].1, payload.as_bytes());
    }
    assert_eq!(frame(Opcode::Text, b"Hello", None), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(frame(Opcode::Binary, &[0; 256], None)[..4], [0x82, 0x7e, 0x01, 0x00]);
    assert_eq!(frame(Opcode::Binary, &[0; 65_536], None)[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn what_is_no_frame_is_refused_and_not_guessed_at() {
    for bytes in [
        // reserved bits and opcodes
        &[0xb1, 0x00][..],
        &[0x83, 0x00],
        // a control frame that is long, in pieces, or compressed
        &[0x89, 0x7e, 0x00, 0x80],
        &[0x09, 0x00],
        &[0xc9, 0x00],
        // a message within a message, and the rest of none
        &[0x01, 0x00, 0x01, 0x00],
        &[0x80, 0x00],
        // a length with its highest bit set
        &[0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(read_in(1, bytes), Err(NotFrames), "{bytes:02x?}");
    }
}

#[test]
fn a_boundary_is_between_messages_only() {
    let mut frames = Frames::default();
    let mut at_boundary = Vec::new();
    let bytes = [
        piece_of_message(Opcode::Text, b"a", None, false),
        frame(Opcode::Ping, b"", None),
        piece_of_message(Opcode::Continuation, b"b", None, true),
    ];
    for frame in bytes {
        let mut rest = frame.as_slice();
        assert!(at_boundary.is_empty() || !frames.at_boundary());
        loop {
            let (taken, seen) = frames.read(rest).unwrap();
            let is_over = seen == Seen::Nothing;
            rest = &rest[taken..];
            if is_over {
                break;
            }
        }
        at_boundary.push(frames.at_boundary());
    }
    assert_eq!(at_boundary, [false, false, true]);
}
