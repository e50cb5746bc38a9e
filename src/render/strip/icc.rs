//! What counts as a colour profile, and not as words in a profile's place.

/// Whether it begins as every profile does (ICC.1:2022, §7.2): a header of 128 bytes with this signature. What does not
/// is no profile to anybody who shows pictures.
pub(super) fn is_profile(bytes: &[u8]) -> bool {
    bytes.len() > 128 && bytes[36..].starts_with(b"acsp")
}
