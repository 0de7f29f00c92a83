//! Decodes a copy of an encoded answer for the meter, as it comes; what the client gets stays encoded.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// The most decoded bytes of one answer.
pub const MAX_DECODED: u64 = 64 << 20;
/// The most decoded bytes per encoded byte, once [`FREE_DECODED`] is passed.
pub const MAX_RATIO: u64 = 100;
/// Below this many decoded bytes the ratio does not matter.
pub const FREE_DECODED: u64 = 1 << 20;
/// More encodings on top of each other than anybody uses.
const MAX_CHAIN: usize = 3;
/// Fed in pieces, so that what one piece decodes to is handed on before the next.
const PIECE: usize = 4 * 1024;
/// RFC 8878 asks HTTP senders for windows of at most 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Why the copy cannot be read any further. The client's bytes are not concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// An encoding that is not known here.
    #[error("the content encoding is not known")]
    Unknown,
    /// The bytes are not what the encoding says.
    #[error("the encoded bytes are broken")]
    Broken,
    /// The answer decodes to more than is sane.
    #[error("the answer decodes to more than {MAX_DECODED} bytes or {MAX_RATIO} times its size")]
    TooLarge,
}

/// Decodes one answer by its `content-encoding`.
pub struct Decoder {
    /// The outermost encoding first.
    stages: Vec<Stage>,
    fault: Option<DecodeFault>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("stages", &self.stages.len()).field("fault", &self.fault).finish()
    }
}

impl Decoder {
    /// A decoder for the value of `content-encoding`; an unknown one faults on the first push.
    #[must_use]
    pub fn new(content_encoding: Option<&str>) -> Self {
        let mut stages = Vec::new();
        let names = content_encoding.unwrap_or_default().split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")) {
            match Codec::named(name) {
                Some(codec) if stages.len() < MAX_CHAIN => stages.insert(0, Stage::new(codec)),
                _ => return Self { stages: Vec::new(), fault: Some(DecodeFault::Unknown) },
            }
        }
        Self { stages, fault: None }
    }

    /// Whether the bytes pass through as they are.
    #[must_use]
    pub const fn is_identity(&self) -> bool {
        self.stages.is_empty() && self.fault.is_none()
    }

    /// Decodes the next bytes; everything that they complete reaches `sink` before this returns.
    ///
    /// # Errors
    /// When the encoding is unknown, the bytes are broken, or they decode to too much; then always.
    pub fn push(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<(), DecodeFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.stages.is_empty() {
            sink(input);
            return Ok(());
        }
        for piece in input.chunks(PIECE) {
            let result = run(&mut self.stages, piece, &mut sink);
            if let Err(fault) = result {
                self.fault = Some(fault);
                return result;
            }
        }
        Ok(())
    }
}

/// Runs one piece through all stages.
fn run(stages: &mut [Stage], piece: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), DecodeFault> {
    let Some((stage, inner)) = stages.split_first_mut() else {
        sink(piece);
        return Ok(());
    };
    let decoded = stage.decode(piece);
    let plain = std::mem::take(&mut stage.output().bytes);
    if !plain.is_empty() {
        run(inner, &plain, sink)?;
    }
    let output = stage.output();
    output.bytes = plain;
    output.bytes.clear();
    match decoded {
        Ok(()) => Ok(()),
        Err(_) if output.overflowed => Err(DecodeFault::TooLarge),
        Err(_) => Err(DecodeFault::Broken),
    }
}

#[derive(Clone, Copy)]
enum Codec {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Codec {
    fn named(name: &str) -> Option<Self> {
        const NAMES: [(&str, Codec); 5] = [
            ("gzip", Codec::Gzip),
            ("x-gzip", Codec::Gzip),
            ("deflate", Codec::Deflate),
            ("br", Codec::Brotli),
            ("zstd", Codec::Zstd),
        ];
        NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, codec)| *codec)
    }
}

/// One encoding of the chain.
struct Stage {
    machine: Machine,
    encoded: u64,
}

enum Machine {
    Gzip(Box<MultiGzDecoder<Output>>),
    /// `deflate` before its first two bytes, which tell zlib from raw.
    Undecided(Vec<u8>, Output),
    Zlib(Box<ZlibDecoder<Output>>),
    Raw(Box<DeflateDecoder<Output>>),
    Brotli(Box<brotli::DecompressorWriter<Output>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Output>>),
}

impl Stage {
    fn new(codec: Codec) -> Self {
        let output = Output::default();
        let machine = match codec {
            Codec::Gzip => Machine::Gzip(Box::new(MultiGzDecoder::new(output))),
            Codec::Deflate => Machine::Undecided(Vec::new(), output),
            Codec::Brotli => Machine::Brotli(Box::new(brotli::DecompressorWriter::new(output, PIECE))),
            Codec::Zstd => Machine::Zstd(Box::new(zstd_decoder(output))),
        };
        Self { machine, encoded: 0 }
    }

    fn decode(&mut self, piece: &[u8]) -> io::Result<()> {
        self.encoded += piece.len() as u64;
        let most = (self.encoded * MAX_RATIO).clamp(FREE_DECODED, MAX_DECODED);
        self.output().most = most;
        match &mut self.machine {
            Machine::Gzip(decoder) => write_through(decoder, piece),
            Machine::Zlib(decoder) => write_through(decoder, piece),
            Machine::Raw(decoder) => write_through(decoder, piece),
            Machine::Brotli(decoder) => write_and_drain(decoder, piece),
            Machine::Zstd(decoder) => write_through(decoder, piece),
            Machine::Undecided(head, output) => {
                head.extend_from_slice(piece);
                if head.len() < 2 {
                    return Ok(());
                }
                let (head, output) = (std::mem::take(head), std::mem::take(output));
                self.machine = decide(&head, output);
                self.encoded -= head.len() as u64;
                self.decode(&head)
            }
        }
    }

    fn output(&mut self) -> &mut Output {
        match &mut self.machine {
            Machine::Gzip(decoder) => decoder.get_mut(),
            Machine::Undecided(_, output) => output,
            Machine::Zlib(decoder) => decoder.get_mut(),
            Machine::Raw(decoder) => decoder.get_mut(),
            Machine::Brotli(decoder) => decoder.get_mut(),
            Machine::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

/// `deflate` means zlib (RFC 9110), but some servers send raw deflate under that name.
fn decide(head: &[u8], output: Output) -> Machine {
    let check = u16::from(head[0]) << 8 | u16::from(head[1]);
    if head[0] & 0x0f == 8 && check.is_multiple_of(31) {
        return Machine::Zlib(Box::new(ZlibDecoder::new(output)));
    }
    Machine::Raw(Box::new(DeflateDecoder::new(output)))
}

fn zstd_decoder(output: Output) -> zstd::stream::write::Decoder<'static, Output> {
    let mut decoder =
        zstd::stream::write::Decoder::new(output).expect("a zstd context needs nothing but memory");
    decoder.window_log_max(ZSTD_WINDOW_LOG).expect("23 is within zstd's own limits");
    decoder
}

/// Writes and flushes, so that nothing that can be decoded stays inside.
fn write_through(decoder: &mut impl Write, piece: &[u8]) -> io::Result<()> {
    decoder.write_all(piece)?;
    decoder.flush()
}

/// The same for a decoder whose flush does nothing: it writes one buffer of what is ready when its input is used
/// up, and the rest with whatever comes next.
fn write_and_drain(decoder: &mut brotli::DecompressorWriter<Output>, piece: &[u8]) -> io::Result<()> {
    decoder.write_all(piece)?;
    loop {
        let before = decoder.get_ref().total;
        // nothing is read of nothing, but what is ready is written; the count says no more than that
        let _ = decoder.write(b"")?;
        if decoder.get_ref().total == before {
            return Ok(());
        }
    }
}

/// Where a machine writes: refuses more than `most` bytes in total.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    total: u64,
    most: u64,
    overflowed: bool,
}

impl Write for Output {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        let total = self.total + plain.len() as u64;
        if total > self.most {
            self.overflowed = true;
            return Err(io::Error::other("more than is sane"));
        }
        self.total = total;
        self.bytes.extend_from_slice(plain);
        Ok(plain.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
pub(super) mod tests;
