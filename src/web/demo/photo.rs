//! The demo's picture: something to upload, with a place and a camera in its metadata, as a phone would write
//! them.

/// In pixels.
const WIDTH: u16 = 1600;
const HEIGHT: u16 = 1200;

/// An evening over hills.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "colours are clamped to 0–255")]
pub(super) fn draw() -> Option<Vec<u8>> {
    let (width, height) = (f32::from(WIDTH), f32::from(HEIGHT));
    let mix =
        |a: [f32; 3], b: [f32; 3], t: f32| std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t.clamp(0.0, 1.0));
    let mut pixels = Vec::with_capacity(usize::from(WIDTH) * usize::from(HEIGHT) * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (x, y) = (f32::from(x) / width, f32::from(y) / height);
            let sun = ((x - 0.68).powi(2) * 1.78 + (y - 0.46).powi(2)).sqrt();
            let mut colour: [f32; 3] = mix([52.0, 72.0, 130.0], [255.0, 178.0, 110.0], y / 0.62);
            colour = mix([255.0, 244.0, 214.0], colour, (sun - 0.045) / 0.22 + 0.35);
            if sun < 0.045 {
                colour = [255.0, 250.0, 232.0];
            }
            for hill in 0_u8..4 {
                let h = f32::from(hill);
                let ridge = 0.56
                    + h * 0.1
                    + 0.035 * (x * (5.0 + h * 2.3) + h * 1.9).sin()
                    + 0.016 * (x * (17.0 - h * 2.0) + h * 4.1).sin();
                if y > ridge {
                    colour = mix([150.0, 104.0, 110.0], [20.0, 34.0, 40.0], (h + (y - ridge) * 1.5) / 3.2);
                }
            }
            pixels.extend(colour.map(|c| c.clamp(0.0, 255.0) as u8));
        }
    }
    let mut jpeg = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
    encoder.add_app_segment(1, EXIF.to_vec()).ok()?;
    encoder.encode(&pixels, WIDTH, HEIGHT, jpeg_encoder::ColorType::Rgb).ok()?;
    Some(jpeg)
}

/// EXIF (CIPA DC-008) with a camera's name and a place: 59°54′36″ N.
const EXIF: &[u8] = b"Exif\0\0II*\0\x08\0\0\0\
    \x02\0\
    \x10\x01\x02\0\x0f\0\0\0\x26\0\0\0\
    \x25\x88\x04\0\x01\0\0\0\x36\0\0\0\
    \0\0\0\0\
    Pinhole Camera\0\0\
    \x02\0\
    \x01\0\x02\0\x02\0\0\0N\0\0\0\
    \x02\0\x05\0\x03\0\0\0\x54\0\0\0\
    \0\0\0\0\
    \x3b\0\0\0\x01\0\0\0\x36\0\0\0\x01\0\0\0\x24\0\0\0\x01\0\0\0";
