//! What the bytes of a fuzzer stand for: a few choices, the places to cut at, and a payload.

/// Cuts that one input can ask for at most.
const MOST_CUTS: usize = 31;
/// Choices that one input makes.
const CHOICES: usize = 4;

/// An input taken apart.
#[derive(Debug)]
pub struct Input<'a> {
    choices: [u8; CHOICES],
    cuts: &'a [u8],
    /// What is to be read.
    pub payload: &'a [u8],
}

impl<'a> Input<'a> {
    /// `None` if there is too little of it.
    #[must_use]
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (choices, rest) = data.split_first_chunk::<CHOICES>()?;
        let (count, rest) = rest.split_first()?;
        let (cuts, payload) = rest.split_at_checked(usize::from(*count) & MOST_CUTS)?;
        Some(Self { choices: *choices, cuts, payload })
    }

    /// The bytes that read as this.
    #[must_use]
    pub fn write(choices: [u8; CHOICES], cuts: &[u8], payload: &[u8]) -> Vec<u8> {
        let cuts = &cuts[..cuts.len().min(MOST_CUTS)];
        let count = u8::try_from(cuts.len()).expect("there are at most 31");
        [&choices[..], &[count], cuts, payload].concat()
    }

    /// The choice of this number, as a number.
    #[must_use]
    pub fn choice(&self, number: usize) -> usize {
        usize::from(self.choices[number])
    }

    /// What the choice of this number takes of `from`.
    #[must_use]
    pub fn pick<'t, T>(&self, number: usize, from: &'t [T]) -> &'t T {
        &from[self.choice(number) % from.len()]
    }

    /// `bytes` in pieces; small cuts are cut sizes, large ones stand for hundreds of bytes.
    #[must_use]
    pub fn sliced<'b>(&self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        for cut in self.cuts {
            let size = if *cut < 200 { usize::from(*cut) } else { (usize::from(*cut) - 190) * 40 };
            let (piece, left) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = left;
        }
        pieces.push(rest);
        pieces
    }
}
