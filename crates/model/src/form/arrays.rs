//! Arrays of numbers and texts, little-endian.

use crate::{Integers, Texts};

/// A defect of a group's body.
pub(super) type Defect = &'static str;

pub(super) const TOO_SHORT: Defect = "it is shorter than it says";
pub(super) const TOO_LARGE: Defect = "it would take more memory than a row group may";
const NO_TEXT: Defect = "a text is not UTF-8 or not within its bounds";

/// The unread bytes of a body, and the memory that they may take.
#[derive(Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    room: usize,
}

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a [u8], room: usize) -> Self {
        Self { bytes, room }
    }

    /// Counts the memory for `count` entries of `each` bytes.
    pub(super) fn reserve(&mut self, count: usize, each: usize) -> Result<(), Defect> {
        let wanted = count.checked_mul(each).ok_or(TOO_LARGE)?;
        self.room = self.room.checked_sub(wanted).ok_or(TOO_LARGE)?;
        Ok(())
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Defect> {
        let (bytes, rest) = self.bytes.split_at_checked(count).ok_or(TOO_SHORT)?;
        self.bytes = rest;
        Ok(bytes)
    }

    /// `count` numbers of `N` bytes each.
    pub(super) fn array<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], Defect> {
        let bytes = count.checked_mul(N).ok_or(TOO_SHORT)?;
        Ok(self.bytes(bytes)?.as_chunks().0)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Defect> {
        let byte = self.bytes(1)?.first();
        byte.copied().ok_or(TOO_SHORT)
    }

    pub(super) fn length(&mut self) -> Result<usize, Defect> {
        let length = self.array(1)?.first().copied().ok_or(TOO_SHORT)?;
        usize::try_from(u32::from_le_bytes(length)).map_err(|_| TOO_LARGE)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// `count` texts, as [`push_texts`] writes them.
    pub(super) fn texts(&mut self, count: usize) -> Result<Texts, Defect> {
        let length = self.length()?;
        self.reserve(count, size_of::<usize>())?;
        self.reserve(length, 1)?;
        let ends = self.array(count)?;
        let text = str::from_utf8(self.bytes(length)?).map_err(|_| NO_TEXT)?;
        let mut texts = Texts::default();
        let mut begin = 0;
        for end in ends {
            let end = usize::try_from(u32::from_le_bytes(*end)).map_err(|_| NO_TEXT)?;
            texts.push(text.get(begin..end).ok_or(NO_TEXT)?);
            begin = end;
        }
        if begin == length { Ok(texts) } else { Err(NO_TEXT) }
    }

    /// `count` whole numbers of a width that [`push_integers`] chose.
    pub(super) fn integers(&mut self, count: usize, width: u8) -> Result<Integers, Defect> {
        self.reserve(count, if width == 16 { 16 } else { 8 })?;
        let narrow = match width {
            1 => self.array(count)?.iter().map(|it| i8::from_le_bytes(*it).into()).collect(),
            2 => self.array(count)?.iter().map(|it| i16::from_le_bytes(*it).into()).collect(),
            4 => self.array(count)?.iter().map(|it| i32::from_le_bytes(*it).into()).collect(),
            8 => self.array(count)?.iter().map(|it| i64::from_le_bytes(*it)).collect(),
            16 => {
                let wide = self.array(count)?.iter().map(|it| i128::from_le_bytes(*it));
                return Ok(Integers::Wide(wide.collect()));
            }
            _ => return Err("numbers have a width that there is not"),
        };
        Ok(Integers::Narrow(narrow))
    }
}

/// Appends the texts `from..to`: the length of all together, where each ends, then all of them.
pub(super) fn push_texts(texts: &Texts, from: usize, to: usize, body: &mut Vec<u8>) {
    // A group's texts are within GROUP_MAX_BYTES, so 32 bits are enough.
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    body.extend(length(texts.bytes(from, to)));
    body.extend((from..to).flat_map(|text| length(texts.bytes(from, text + 1))));
    body.extend_from_slice(texts.joined(from, to).as_bytes());
}

/// Appends the whole numbers of the rows `from..to`, after the number of bytes that each takes.
pub(super) fn push_integers(values: &Integers, from: usize, to: usize, body: &mut Vec<u8>) {
    match values {
        Integers::Narrow(values) => {
            let values = values.get(from..to).unwrap_or_default();
            let (mut least, mut most) = (0, 0);
            for value in values {
                least = least.min(*value);
                most = most.max(*value);
            }
            let fits = |min: i64, max: i64| least >= min && most <= max;
            // Each conversion below is exact: the least and the greatest value fit.
            if fits(i8::MIN.into(), i8::MAX.into()) {
                body.push(1);
                body.extend(values.iter().map(|value| *value as u8));
            } else if fits(i16::MIN.into(), i16::MAX.into()) {
                body.push(2);
                push_array(values, body, |value| (value as i16).to_le_bytes());
            } else if fits(i32::MIN.into(), i32::MAX.into()) {
                body.push(4);
                push_array(values, body, |value| (value as i32).to_le_bytes());
            } else {
                body.push(8);
                push_array(values, body, i64::to_le_bytes);
            }
        }
        Integers::Wide(values) => {
            body.push(16);
            push_array(values.get(from..to).unwrap_or_default(), body, i128::to_le_bytes);
        }
    }
}

/// Appends numbers as `N` bytes each.
pub(super) fn push_array<T: Copy, const N: usize>(
    values: &[T],
    body: &mut Vec<u8>,
    bytes: impl Fn(T) -> [u8; N],
) {
    let begin = body.len();
    body.resize(begin + values.len() * N, 0);
    let room = body.get_mut(begin..).unwrap_or_default();
    for (room, value) in room.as_chunks_mut().0.iter_mut().zip(values) {
        *room = bytes(*value);
    }
}
