//! A cursor over hostile bytes: every read is checked, none can panic.

use super::StripError;

#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], StripError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(StripError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StripError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(StripError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, StripError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn be16(&mut self) -> Result<u16, StripError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn be32(&mut self) -> Result<u32, StripError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn le16(&mut self) -> Result<u16, StripError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn le24(&mut self) -> Result<u32, StripError> {
        self.array().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    pub(super) fn le32(&mut self) -> Result<u32, StripError> {
        self.array().map(u32::from_le_bytes)
    }
}

/// A length field as a count of bytes in memory.
pub(super) fn length(field: u32) -> Result<usize, StripError> {
    usize::try_from(field).map_err(|_| StripError::Truncated)
}
