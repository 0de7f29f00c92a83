//! Writes the first inputs of every target: `seeds FOLDER` makes `FOLDER/TARGET/NUMBER`.

use std::fs;
use std::path::Path;

// the counters of instrumented code live there
use libfuzzer_sys as _;
use tollgate_fuzz::dialect::corpus::CORPUS;
use tollgate_fuzz::dialect::frames::{Opcode, closing, frame, piece_of_message};
use tollgate_fuzz::dialect::path::Operation;
use tollgate_fuzz::input::Input;

const CUTS: [&[u8]; 3] = [&[], &[7, 1, 0, 40, 3], &[1; 31]];

const REQUESTS: [&str; 9] = [
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#,
    " {\n \"stream\" : true , \"model\": \"m\" }\r\n",
    r#"{"stream":true,"model":"m","stream_options":null,"max_tokens":9e2}"#,
    r#"{"stream_options":{ },"model":"m","stream":true,"max_completion_tokens":"500","max_tokens":null}"#,
    r#"{"stream_options":{"include_obfuscation":false,"include\u005fusage":false},"stream":true,"model":"m"}"#,
    r#"{"mod\u0065l":"\u00e9\ud83d\ude00","max_output_tokens":100.0,"reasoning":{"effort":"high"},"tools":[{"type":"web_search","max_uses":3},{"type":"image_generation","model":"i"}],"background":true}"#,
    r#"{"model":"m","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":1024},"metadata":{"user_id":"u"},"stop_sequences":["a"]}"#,
    "\u{feff}{\"model\":\"m\",\"prompt\":[\"a\",[1,2],\"b\"],\"n\":2,\"best_of\":-1,\"seed\":1e400,\"stream\":true}",
    r#"{"model":"a","MODEL":"b"}"#,
];

const FORM: &str = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\nContent-Type: audio/wav\r\n\r\n\
    RIFF--B\0\r\n\r\n--B\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--B\r\n\
    Content-Disposition: form-data; name=stream\r\n\r\ntrue\r\n--B\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n2\r\n--B--\r\n";

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "seeds".to_owned());
    for (target, inputs) in [
        ("sse", streams(|_| [0, 0, 0, 0])),
        ("meter", streams(|operation| [number(operation), 0, 0, 0])),
        ("unask", streams(|_| [0, 1, 1, 0])),
        ("decoder", encoded()),
        ("request", requests()),
        ("multipart", forms()),
        ("frames", frames()),
    ] {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (number, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("{number:03}")), input)?;
        }
    }
    Ok(())
}

/// Whole streams, and each of their events, cut in several ways.
fn streams(choices: impl Fn(Operation) -> [u8; 4]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (operation, text) in CORPUS {
        for cuts in CUTS {
            inputs.push(Input::write(choices(operation), cuts, text.as_bytes()));
        }
        for event in text.split_inclusive("\n\n") {
            inputs.push(Input::write(choices(operation), &[9], event.as_bytes()));
            let data = event.trim().strip_prefix("data: ").unwrap_or(event);
            let mut choices = choices(operation);
            choices[1] = 1;
            inputs.push(Input::write(choices, &[9], data.as_bytes()));
        }
    }
    inputs
}

fn encoded() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for encoding in 0..6 {
        for (_, text) in CORPUS {
            inputs.push(Input::write([encoding, 1, 30, 0], &[100, 100], text.as_bytes()));
        }
        inputs.push(Input::write(
            [encoding, 0, 0, 0],
            &[3],
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x04\0\x43\xbe\xb7\xe8\x01\0\0\0",
        ));
        inputs.push(Input::write([encoding, 0, 0, 0], &[1], b"\x78\x9c\x4b\x04\0\0\x62\0\x62"));
        inputs.push(Input::write(
            [encoding, 0, 0, 0],
            &[1],
            b"\x28\xb5\x2f\xfd\x04\x58\x09\0\0a\x9d\x48\x2b\x0d",
        ));
        inputs.push(Input::write([encoding, 0, 0, 0], &[1], b"\x0b\0\x80\x61\x03"));
    }
    inputs
}

fn requests() -> Vec<Vec<u8>> {
    let paths = 0..u8::try_from(tollgate_fuzz::laws::request::PATHS.len()).expect("there are six");
    let body = |path| REQUESTS.map(|body| Input::write([path, 20, 0, 0], &[], body.as_bytes()));
    paths.flat_map(body).collect()
}

fn forms() -> Vec<Vec<u8>> {
    let form = |kind: u8| Input::write([kind, kind, 0, 0], &[3, 40, 1, 1, 1], FORM.as_bytes());
    (0..4).map(form).collect()
}

/// Messages in one frame and in several, with a mask and without, and what stands between them.
fn frames() -> Vec<Vec<u8>> {
    let mask = Some([9, 8, 7, 6]);
    let long = "x".repeat(300);
    let messages = [
        frame(Opcode::Text, b"{\"type\":\"response.create\"}", mask),
        [
            piece_of_message(Opcode::Binary, long.as_bytes(), None, false),
            frame(Opcode::Ping, b"are you there", None),
            piece_of_message(Opcode::Continuation, b"", None, true),
        ]
        .concat(),
        frame(Opcode::Close, &closing(1000, "done"), mask),
    ];
    messages.iter().map(|bytes| Input::write([1, 5, 0, 0], &[1, 1, 2, 100], bytes)).collect()
}

fn number(operation: Operation) -> u8 {
    let place = Operation::ALL.iter().position(|other| *other == operation).expect("ALL has every operation");
    u8::try_from(place).expect("there are fifteen")
}
