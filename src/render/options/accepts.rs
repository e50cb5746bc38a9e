//! What the client's `Accept` header says about the formats worth negotiating.

/// The formats that a client names as acceptable (RFC 9110 §12.5.1).
///
/// A wildcard is no evidence: clients that cannot show WebP send `image/*` and `*/*` too, so
/// only the media type itself, with a weight above zero, counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accepts {
    /// `image/webp` is named, and not with `q=0`.
    pub webp: bool,
}

impl Accepts {
    /// Reads the field value of `Accept`; no header accepts nothing in particular.
    pub fn parse(header: Option<&str>) -> Accepts {
        let mut named = header.unwrap_or_default().split(',').filter(|range| {
            let media_type = range.split(';').next().unwrap_or_default();
            media_type.trim().eq_ignore_ascii_case("image/webp")
        });
        Accepts { webp: named.any(has_weight) }
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
    use super::*;

    #[test]
    fn webp_counts_when_named_with_weight() {
        for yes in [
            "image/webp",
            "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
            "text/html, IMAGE/WebP ; q=0.001",
            "image/webp;Q=1.000",
            "image/webp;q=0, image/webp;q=0.5",
        ] {
            assert!(Accepts::parse(Some(yes)).webp, "{yes}");
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
            "image/webp;q=0.000, image/*",
            "image/webp; q=2",
            "image/webp;q=0.1234",
            "image/webp;q=",
            "image/webpx",
            "x-image/webp",
        ] {
            assert!(!Accepts::parse(Some(no)).webp, "{no}");
        }
        assert!(!Accepts::parse(None).webp);
    }
}
