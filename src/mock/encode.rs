//! Content codings, flushed after every frame as streaming providers do.

use std::io::{self, Write};

use bytes::Bytes;

use super::knobs::Encoding;

/// A running encoder; identity when there is no coding.
pub(super) enum Encoder {
    Identity,
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Deflate(flate2::write::ZlibEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(super) fn new(encoding: Option<Encoding>) -> io::Result<Self> {
        let level = flate2::Compression::fast();
        Ok(match encoding {
            None => Self::Identity,
            Some(Encoding::Gzip) => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), level)),
            // RFC 9110 means zlib by "deflate"
            Some(Encoding::Deflate) => Self::Deflate(flate2::write::ZlibEncoder::new(Vec::new(), level)),
            Some(Encoding::Brotli) => {
                Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 3, 18)))
            }
            Some(Encoding::Zstd) => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
        })
    }

    /// Encodes one frame so that the reader can decode all of it now.
    pub(super) fn push(&mut self, frame: &Bytes) -> io::Result<Bytes> {
        let taken = match self {
            Self::Identity => return Ok(frame.clone()),
            Self::Gzip(to) => flushed(to, frame).map(|()| std::mem::take(to.get_mut())),
            Self::Deflate(to) => flushed(to, frame).map(|()| std::mem::take(to.get_mut())),
            Self::Brotli(to) => flushed(to, frame).map(|()| std::mem::take(to.get_mut())),
            Self::Zstd(to) => flushed(to, frame).map(|()| std::mem::take(to.get_mut())),
        };
        taken.map(Bytes::from)
    }

    /// What closes the coding.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(Bytes::new()),
            Self::Gzip(to) => to.finish().map(Bytes::from),
            Self::Deflate(to) => to.finish().map(Bytes::from),
            Self::Brotli(to) => Ok(Bytes::from(to.into_inner())),
            Self::Zstd(to) => to.finish().map(Bytes::from),
        }
    }
}

fn flushed(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    to.write_all(frame)?;
    to.flush()
}
