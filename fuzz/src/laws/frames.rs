//! WebSocket frames are the same however the bytes are cut, every byte belongs to one, and a frame that we write
//! reads as what was written.

use crate::dialect::frames::{Frame, Frames, Opcode, Seen, piece_of_message};
use crate::input::Input;

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Began(Frame),
    Payload(Vec<u8>),
    Ended(Frame),
    NoFrames,
}

/// Panics where the law is broken.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else { return };
    let whole = read(&[input.payload]);
    assert_eq!(read(&input.sliced(input.payload)), whole, "cutting changed the frames");
    written(&input);
}

fn read(pieces: &[&[u8]]) -> Vec<Told> {
    let mut frames = Frames::default();
    let mut told = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let Ok((taken, seen)) = frames.read(rest) else {
                told.push(Told::NoFrames);
                return told;
            };
            let is_progress = taken > 0 || matches!(seen, Seen::Began(_) | Seen::Ended(_));
            rest = &rest[taken..];
            match (seen, told.last_mut()) {
                (Seen::Nothing, _) => {
                    assert!(rest.is_empty(), "bytes were left lying");
                    break;
                }
                (Seen::Began(frame), _) => told.push(Told::Began(frame)),
                (Seen::Ended(frame), _) => told.push(Told::Ended(frame)),
                (Seen::Payload(part), Some(Told::Payload(before))) => before.extend_from_slice(part),
                (Seen::Payload(part), _) => told.push(Told::Payload(part.to_vec())),
            }
            assert!(is_progress, "it would go on for ever");
        }
    }
    told
}

/// The payload as a message of one frame per cut, with a mask or without.
fn written(input: &Input<'_>) {
    let mask = (input.choice(0) & 1 == 1).then(|| [1, 2, 3, 4].map(|number| number * 37));
    let parts = input.sliced(input.payload);
    let last = parts.len() - 1;
    let mut bytes = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let opcode = if number == 0 { Opcode::Text } else { Opcode::Continuation };
        bytes.extend(piece_of_message(opcode, part, mask, number == last));
    }
    let pieces: Vec<&[u8]> = bytes.chunks(1 + input.choice(1)).collect();
    let told = read(&pieces);
    let payload: Vec<u8> = told
        .iter()
        .filter_map(|told| if let Told::Payload(part) = told { Some(&part[..]) } else { None })
        .flatten()
        .copied()
        .collect();
    assert_eq!(payload, input.payload);
    let ends = told.iter().filter(|told| matches!(told, Told::Ended(_))).count();
    assert_eq!(ends, parts.len());
}
