//! What the client's `Accept` header says about the formats worth negotiating.

/// The formats that a client names as acceptable (RFC 9110 §12.5.1).
///
/// A wildcard is no evidence: clients that cannot show WebP send `image/*` and `*/*` too, so
/// only the media type itself, with a weight above zero, counts. Which weight does not matter:
/// browsers give all of them the same, and the smallest file is best for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accepts {
    /// `image/avif` is named, and not with `q=0`.
    pub avif: bool,
    /// `image/webp`, likewise.
    pub webp: bool,
}

impl Accepts {
    /// Reads the field values of all `Accept` lines, which together are one list (§5.3); none accepts
    /// nothing in particular.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Accepts {
        let mut accepts = Accepts::default();
        for range in lines.into_iter().flat_map(|line| line.split(',')) {
            let media_type = range.split(';').next().unwrap_or_default().trim();
            if media_type.eq_ignore_ascii_case("image/avif") {
                accepts.avif |= has_weight(range);
            } else if media_type.eq_ignore_ascii_case("image/webp") {
                accepts.webp |= has_weight(range);
            }
        }
        accepts
    }
}

/// Whether a media range's weight is above zero. No `q` means 1; a `q` that is not a weight
/// cannot be trusted to mean yes.
fn has_weight(range: &str) -> bool {
    range
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .is_none_or(|(_, weight)| is_positive_qvalue(weight.trim()))
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`, other than zero.
fn is_positive_qvalue(text: &str) -> bool {
    let (ones, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let all_zero = decimals.bytes().all(|b| b == b'0');
    match ones {
        "1" => all_zero,
        "0" => !all_zero,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVIF: Accepts = Accepts { avif: true, webp: false };
    const WEBP: Accepts = Accepts { avif: false, webp: true };
    const BOTH: Accepts = Accepts { avif: true, webp: true };
    const NEITHER: Accepts = Accepts { avif: false, webp: false };

    #[test]
    fn a_format_counts_when_named_with_weight() {
        for (header, accepts) in [
            ("image/webp", WEBP),
            ("image/avif", AVIF),
            ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", BOTH),
            ("image/webp;q=0.9, image/avif;q=0.1", BOTH),
            ("text/html, IMAGE/WebP ; q=0.001", WEBP),
            ("text/html, Image/AVIF ; q=0.001", AVIF),
            ("image/webp;Q=1.000", WEBP),
            ("image/webp;q=0, image/webp;q=0.5", WEBP),
            ("image/avif;q=0,image/webp", WEBP),
            ("image/avif, image/webp;q=0.0", AVIF),
        ] {
            assert_eq!(Accepts::parse(Some(header)), accepts, "{header}");
        }
    }

    #[test]
    fn wildcards_and_zero_weights_do_not_count() {
        for no in [
            "",
            "*/*",
            "image/*",
            "image/png,image/*;q=0.9,*/*;q=0.8",
            "image/webp;q=0",
            "image/avif;q=0",
            "image/webp;q=0.000, image/*",
            "image/webp; q=2",
            "image/avif;q=0.1234",
            "image/webp;q=",
            "image/webpx",
            "image/avif-sequence",
            "x-image/webp",
        ] {
            assert_eq!(Accepts::parse(Some(no)), NEITHER, "{no}");
        }
        assert_eq!(Accepts::parse(None), NEITHER);
    }

    #[test]
    fn the_published_vectors_hold() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/accepts.json")).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            let class = vector["class"].as_str().unwrap();
            let says = |format| class.split(',').any(|named| named == format);
            let accepts = Accepts { avif: says("avif"), webp: says("webp") };
            assert_eq!(Accepts::parse(vector["accept"].as_str()), accepts, "{vector}");
        }
    }

    /// What a list may hold, and what it says of AVIF and of WebP.
    const RANGES: [(&str, Accepts); 8] = [
        ("image/avif", AVIF),
        ("image/avif;q=0.5", AVIF),
        ("image/avif;q=0", NEITHER),
        ("image/webp", WEBP),
        ("IMAGE/WEBP; q=0.1", WEBP),
        ("image/webp;q=0.000", NEITHER),
        ("image/*", NEITHER),
        ("*/*;q=0.8", NEITHER),
    ];

    proptest! {
        #[test]
        fn each_format_counts_that_one_range_names_wherever_it_stands(
            ranges in prop::collection::vec((prop::sample::select(&RANGES), any::<bool>()), 0..8),
        ) {
            let mut lines = vec![String::new()];
            for ((range, _), starts_a_line) in &ranges {
                if *starts_a_line {
                    lines.push((*range).to_owned());
                } else if let Some(line) = lines.last_mut() {
                    *line = format!("{line}, {range}");
                }
            }
            let expected = Accepts {
                avif: ranges.iter().any(|((_, says), _)| says.avif),
                webp: ranges.iter().any(|((_, says), _)| says.webp),
            };
            prop_assert_eq!(Accepts::parse(lines.iter().map(String::as_str)), expected);
        }

        #[test]
        fn whatever_is_sent_is_read(line in ".{0,60}") {
            let _ = Accepts::parse(Some(line.as_str()));
        }
    }
}
