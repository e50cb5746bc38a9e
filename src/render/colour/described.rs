//! Colours that a file describes in numbers rather than with an ICC profile, as such a profile.

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, MatrixCoefficients,
    ToneReprCurve, TransferCharacteristics,
};

/// 100 000 in a PNG's fixed-point numbers is one (W3C PNG, third edition, §11.3.2.1).
const PNG_ONE: f32 = 100_000.0;
/// A gamma this near to sRGB's 1/2.2 means sRGB, as libpng and the browsers have it.
const SRGB_GAMMA: f32 = 1.0 / 2.2;
const GAMMA_TOLERANCE: f32 = 0.05;
/// No curve is steeper than that of this gamma.
const MIN_GAMMA: f32 = 0.01;

/// The profile of what a PNG's chunks say, where that is not sRGB; `icc` is what its `iCCP` holds.
///
/// The first of these that is there counts (§4.3): `cICP`, then `iCCP`, then `sRGB`, then `gAMA` with
/// `cHRM`. `cHRM` alone says too little.
pub(in crate::render) fn png(file: &[u8], icc: Option<Vec<u8>>) -> Option<Vec<u8>> {
    if let Some([primaries, transfer, ..]) = chunk(file, *b"cICP") {
        return cicp(*primaries, *transfer);
    }
    if icc.is_some() || chunk(file, *b"sRGB").is_some() {
        return icc;
    }
    let [gamma] = numbers(chunk(file, *b"gAMA")?)?;
    if gamma < MIN_GAMMA {
        return None;
    }
    let is_srgb = (gamma / SRGB_GAMMA - 1.0).abs() < GAMMA_TOLERANCE;
    let exponent = (!is_srgb).then_some(1.0 / gamma);
    match chunk(file, *b"cHRM").and_then(numbers) {
        Some([wx, wy, rx, ry, gx, gy, bx, by]) => {
            let point = Chromaticity::new;
            let primaries = ColorPrimaries { red: point(rx, ry), green: point(gx, gy), blue: point(bx, by) };
            let mut profile = ColorProfile::new_srgb();
            profile.update_rgb_colorimetry(point(wx, wy).to_xyyb(), primaries);
            finished(profile, exponent)
        }
        None if is_srgb => None,
        None => finished(ColorProfile::new_srgb(), exponent),
    }
}

/// The profile of code points (ITU-T H.273, tables 2 and 3), where they do not mean sRGB.
///
/// The curves of the television standards are taken for sRGB's, as browsers take them. What is
/// brighter than white (PQ and HLG) is not known here, and is shown as if it were sRGB.
pub(in crate::render) fn cicp(primaries: u8, transfer: u8) -> Option<Vec<u8>> {
    let exponent = match transfer {
        1 | 2 | 6 | 13..=15 => None,
        4 => Some(2.2),
        5 => Some(2.8),
        8 => Some(1.0),
        _ => return None,
    };
    let color_primaries = match CicpColorPrimaries::try_from(primaries).ok()? {
        CicpColorPrimaries::Unspecified => CicpColorPrimaries::Bt709,
        known => known,
    };
    if color_primaries == CicpColorPrimaries::Bt709 && exponent.is_none() {
        return None;
    }
    let profile = ColorProfile::new_from_cicp(CicpProfile {
        color_primaries,
        transfer_characteristics: TransferCharacteristics::Srgb,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    });
    finished(profile, exponent)
}

/// The profile as a file, with a plain curve where there is an exponent. Numbers that make no
/// colours make no profile.
fn finished(mut profile: ColorProfile, exponent: Option<f32>) -> Option<Vec<u8>> {
    if let Some(exponent) = exponent {
        let curve = ToneReprCurve::Parametric(vec![exponent]);
        profile.red_trc = Some(curve.clone());
        profile.green_trc = Some(curve.clone());
        profile.blue_trc = Some(curve);
    }
    // The file says it in its own terms; the code points would be a second opinion.
    profile.cicp = None;
    let colorants = [profile.red_colorant, profile.green_colorant, profile.blue_colorant];
    let white = colorants.iter().map(|colour| colour.y).sum::<f64>();
    let sound = colorants.iter().all(|colour| (colour.x + colour.y + colour.z).is_finite());
    (sound && (white - 1.0).abs() < 0.01).then(|| profile.encode().ok()).flatten()
}

/// The data of a PNG's first chunk of a name, among those before its pixels.
fn chunk(file: &[u8], name: [u8; 4]) -> Option<&[u8]> {
    let mut rest = file.get(8..)?;
    loop {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (found, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
        if *found == name {
            return Some(data);
        }
        if found == b"IDAT" {
            return None;
        }
        rest = after.get(4..)?;
    }
}

/// Exactly `N` of a PNG's fixed-point numbers.
fn numbers<const N: usize>(data: &[u8]) -> Option<[f32; N]> {
    let (numbers, rest) = data.as_chunks::<4>();
    let numbers: &[[u8; 4]; N] = numbers.try_into().ok().filter(|_| rest.is_empty())?;
    // Some digits are lost above 16 777 216, which is no chromaticity.
    #[expect(clippy::cast_precision_loss, reason = "no colour has so many digits")]
    Some(numbers.map(|number| u32::from_be_bytes(number) as f32 / PNG_ONE))
}
