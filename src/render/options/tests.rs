//! The option string's laws, as tests.

use proptest::prelude::*;

use super::*;
use crate::render::{Format, WatermarkSettings, samples};

/// Two watermarks, and presets that use them.
fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    let file = samples::png(&samples::quadrants(4, 4).into(), None);
    for name in ["logo", "seal"] {
        catalogue
            .add_watermark(name, Watermark::new(name, &file, WatermarkSettings::default()).unwrap())
            .unwrap();
    }
    catalogue.add_preset("thumb", "fit=cover,h=96,w=96").unwrap();
    catalogue.add_preset("signed", "w=640,watermark=logo,f=auto").unwrap();
    catalogue
}

fn parse(text: &str) -> Result<Rendition, BadOptions> {
    Rendition::parse(text, &catalogue())
}

fn variant(text: &str) -> Options {
    match parse(text).unwrap() {
        Rendition::Variant(options) => options,
        other => unreachable!("{text} is {other:?}"),
    }
}

/// The plan for a still source.
fn plan(text: &str, source: Format, accept: &str) -> Plan {
    variant(text).plan(source, false, Accepts::parse(Some(accept)))
}

#[test]
fn canonical_text_is_long_names_in_table_order() {
    for (given, canonical) in [
        ("original", "original"),
        ("raw", "raw"),
        ("w=400", "width=400"),
        ("dpr=2.50,f=auto,q=7,fit=cover,h=2,w=1", "width=1,height=2,fit=cover,quality=7,format=auto,dpr=2.5"),
        ("dpr=2.0,width=8", "width=8,dpr=2"),
        ("dpr=0.1000,width=80", "width=80,dpr=0.1"),
        ("dpr=1.0001", "dpr=1.0001"),
        ("quality=100,format=webp", "quality=100,format=webp"),
        ("bg=FF8800FF,w=1", "width=1,background=ff8800"),
        ("bg=00000000", "background=00000000"),
        ("g=0.50x0.5", "gravity=center"),
        ("g=center", "gravity=center"),
        ("g=0x0.5000", "gravity=left"),
        ("g=1.0x0.5", "gravity=right"),
        ("gravity=0.5x0", "gravity=top"),
        ("g=0.5x1", "gravity=bottom"),
        ("g=0.250x1", "gravity=0.25x1"),
        ("g=auto", "gravity=auto"),
        ("sharpen=1.50", "sharpen=1.5"),
        ("sharpen=0", "sharpen=0"),
        ("trim=border;10", "trim=border"),
        ("trim=border;0", "trim=border;0"),
        ("trim=1;2;3;65535", "trim=1;2;3;65535"),
        (
            "watermark=logo,anim=false,trim=border,flip=hv,rotate=270,sharpen=2,blur=250,bg=fff000,g=top,w=9",
            "width=9,gravity=top,background=fff000,blur=250,sharpen=2,rotate=270,flip=hv,trim=border,\
             anim=false,watermark=logo",
        ),
        ("preset=thumb", "width=96,height=96,fit=cover"),
        ("preset=signed", "width=640,format=auto,watermark=logo"),
    ] {
        assert_eq!(parse(given).unwrap().canonical(), canonical);
    }
}

#[test]
fn nonsense_is_refused() {
    for bad in [
        "",
        ",",
        "w",
        "w=",
        "=1",
        "w=1,",
        ",w=1",
        "w=1,,h=1",
        "w=1;h=1",
        "Original",
        "raw,w=1",
        "original,w=1",
        "w=0",
        "w=01",
        "w=+1",
        "w=-1",
        "w=1.0",
        "w= 1",
        "w=1 ",
        "W=1",
        "w=8193",
        "w=99999999999999999999",
        "w=１",
        "h=0",
        "w=1,w=1",
        "w=1,width=1",
        "q=80,quality=80",
        "q=0",
        "q=101",
        "q=300",
        "q=",
        "fit=",
        "fit=Cover",
        "fit=fill",
        "f=jpg",
        "f=WEBP",
        "f=",
        "dpr=0",
        "dpr=0.09",
        "dpr=4.0001",
        "dpr=5",
        "dpr=1.",
        "dpr=.5",
        "dpr=01",
        "dpr=1.00000",
        "dpr=1e0",
        "dpr=+1",
        "dpr=1.-1",
        "dpr=",
        "dpr=1,dpr=1",
        "w%3D1",
        "%77=1",
        "w=%31",
        "w=4097,dpr=2",
        "dpr=2,w=4097",
        "w=4,dpr=0.1",
        "w=1=1",
        "colour=red",
        "w=auto",
    ] {
        assert!(parse(bad).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn nonsense_about_looks_and_names_is_refused() {
    for bad in [
        "g=",
        "g=Center",
        "g=middle",
        "g=top-left",
        "g=0.5",
        "g=0.5x",
        "g=x0.5",
        "g=0.5X0.5",
        "g=1.1x0",
        "g=0x1.0001",
        "g=-0.1x0",
        "g=0x0x0",
        "g=face",
        "g=0.00001x0",
        "bg=",
        "bg=fff",
        "bg=red",
        "bg=%23ff0000",
        "bg=#ff0000",
        "bg=ff00000",
        "bg=ff0000000",
        "bg=gg0000",
        "bg=+f0000",
        "bg=ﬀ0000",
        "blur=0",
        "blur=251",
        "blur=1.5",
        "blur=",
        "sharpen=",
        "sharpen=10.0001",
        "sharpen=11",
        "sharpen=-1",
        "sharpen=.5",
        "rotate=0",
        "rotate=45",
        "rotate=360",
        "rotate=-90",
        "rotate=090",
        "flip=",
        "flip=vh",
        "flip=both",
        "flip=H",
        "trim=",
        "trim=1",
        "trim=1;2",
        "trim=1;2;3",
        "trim=1;2;3;4;",
        "trim=1;2;3;4;5",
        "trim=1;2;3;65536",
        "trim=1;2;3;-4",
        "trim=1;;3;4",
        "trim=Border",
        "trim=border;",
        "trim=border;256",
        "trim=border;-1",
        "trim=border;1;2",
        "trim.left=1",
        "anim=",
        "anim=1",
        "anim=True",
        "watermark=",
        "watermark=none",
        "watermark=Logo",
        "preset=",
        "preset=none",
        "preset=Thumb",
        "preset=thumb,w=1",
        "w=1,preset=thumb",
        "preset=thumb,preset=thumb",
        "preset=thumb=1",
    ] {
        assert!(parse(bad).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn refusals_name_the_option_and_what_is_allowed() {
    for (bad, says) in [
        ("w=1,h=0", "`h=0`: must be a whole number from 1 to 8192 after dpr"),
        ("dpr=4,w=8000", "`width=8000`: must be a whole number from 1 to 8192 after dpr"),
        ("q=101", "`q=101`: must be a whole number from 1 to 100"),
        ("w=1,width=2", "`width=2`: each option may be given once"),
        ("format=heic", "`format=heic`: must be auto, jpeg, png, webp, gif or avif"),
        ("g=up", "`g=up`: must be center, left, right, top, bottom, auto, or XxY with both from 0 to 1"),
        ("blur=251", "`blur=251`: must be a whole number from 1 to 250"),
        (
            "trim=1,h=2",
            "`trim=1`: must be top;right;bottom;left in whole pixels up to 65535 each, or border, or border;tolerance from 0 to 255",
        ),
        ("preset=thumb,w=1", "`preset=thumb`: a preset stands alone, without other options"),
        ("preset=large", "`preset=large`: the presets here are signed, thumb"),
        ("watermark=crest", "`watermark=crest`: the watermarks here are logo, seal"),
    ] {
        assert_eq!(parse(bad).unwrap_err().to_string(), says);
    }
    for (bad, says) in [
        ("preset=large", "`preset=large`: no presets are set up here"),
        ("watermark=logo", "`watermark=logo`: no watermarks are set up here"),
    ] {
        assert_eq!(Rendition::parse(bad, &Catalogue::default()).unwrap_err().to_string(), says);
    }
}

#[test]
fn refusals_repeat_little_and_only_plain_text() {
    let said = parse(&format!("<\n\u{202e}é>{}", "x".repeat(9999))).unwrap_err();
    let option = said.to_string().split('`').nth(1).unwrap().to_owned();
    assert_eq!(option, format!("<???>{}", "x".repeat(35)));
}

#[test]
fn dpr_applies_first_and_rounds_half_up() {
    let sides = |text| {
        let plan = plan(text, Format::Jpeg, "");
        (plan.width, plan.height)
    };
    assert_eq!(sides("w=101,h=99,dpr=1.5"), (Some(152), Some(149)));
    assert_eq!(sides("w=5,dpr=0.1"), (Some(1), None));
    assert_eq!(sides("w=4096,dpr=2"), (Some(8192), None));
    assert_eq!(sides("w=20480,dpr=0.4"), (Some(8192), None));
    assert_eq!(sides("dpr=3"), (None, None));
}

#[test]
fn formats_resolve_by_request_accept_and_source() {
    for (text, source, accept, format) in [
        ("w=1", Format::Png, "image/webp", Format::Png),
        ("f=auto", Format::Png, "image/webp", Format::Webp),
        ("f=auto", Format::Png, "image/*", Format::Png),
        ("f=auto", Format::Webp, "", Format::Webp),
        ("f=auto", Format::Jpeg, "image/avif,image/webp,image/*;q=0.8", Format::Avif),
        ("f=auto", Format::Gif, "image/avif", Format::Avif),
        ("f=auto", Format::Jpeg, "image/avif;q=0,image/webp", Format::Webp),
        ("f=auto", Format::Jpeg, "image/avif;q=0", Format::Jpeg),
        ("f=auto", Format::Avif, "image/avif", Format::Avif),
        ("f=auto", Format::Avif, "image/webp", Format::Webp),
        ("f=auto", Format::Avif, "image/*", Format::Jpeg),
        ("w=1", Format::Avif, "", Format::Avif),
        ("f=avif", Format::Jpeg, "", Format::Avif),
        ("f=jpeg", Format::Png, "image/webp", Format::Jpeg),
    ] {
        assert_eq!(plan(text, source, accept).format, format, "{text} {source}");
    }
    assert!(variant("w=1,f=auto").varies_by_accept());
    assert!(!variant("w=1,f=webp").varies_by_accept());
    assert!(!variant("w=1").varies_by_accept());
}

#[test]
fn animations_stay_where_the_format_has_them_and_nobody_minds() {
    for (text, source, accept, animation) in [
        ("w=1", Format::Gif, "", Some(Format::Gif)),
        ("w=1,anim=true", Format::Gif, "", Some(Format::Gif)),
        ("w=1,anim=false", Format::Gif, "", None),
        ("f=auto", Format::Gif, "image/webp", Some(Format::Webp)),
        ("f=auto", Format::Gif, "image/avif,image/webp", Some(Format::Webp)),
        ("f=auto", Format::Gif, "image/avif", Some(Format::Gif)),
        ("f=jpeg", Format::Gif, "", None),
        ("f=avif", Format::Gif, "", None),
        ("f=gif", Format::Png, "", Some(Format::Gif)),
        ("w=1", Format::Png, "", None),
    ] {
        let accepts = Accepts::parse(Some(accept));
        assert_eq!(variant(text).plan(source, true, accepts).animation, animation, "{text} {source}");
        assert_eq!(variant(text).plan(source, false, accepts).animation, None, "{text} {source}, still");
    }
    let still = variant("f=auto,anim=false").plan(Format::Gif, true, Accepts::parse(Some("image/avif")));
    assert_eq!(still.format, Format::Avif, "the first frame alone does not move");
}

#[test]
fn transparency_is_lost_only_where_somebody_chose_it() {
    for (text, source, accept, kept) in [
        ("f=auto", Format::Avif, "", true),
        ("f=auto,w=9,h=9", Format::Avif, "image/*", true),
        ("f=auto,bg=ffffff", Format::Avif, "", false),
        ("f=auto,w=9,h=9,fit=pad", Format::Avif, "", false),
        ("f=jpeg", Format::Avif, "", false),
        ("f=auto", Format::Avif, "image/webp", false),
        ("f=auto", Format::Png, "", false),
    ] {
        let plan = plan(text, source, accept);
        assert_eq!(plan.for_alpha(false).as_ref(), &plan, "{text} {source}");
        let seen_through = plan.for_alpha(true);
        let found = (plan.format, seen_through.format, seen_through.background);
        if kept {
            assert_eq!(found, (Format::Jpeg, Format::Png, None), "{text} {source}");
        } else {
            assert_eq!(seen_through.as_ref(), &plan, "{text} {source}");
        }
    }
}

#[test]
fn same_bytes_same_plan() {
    let key = |text| plan(text, Format::Jpeg, "").to_string();
    assert_eq!(
        key("w=400"),
        "width=400,height=auto,fit=scale-down,gravity=center,quality=84,format=jpeg,animation=none,keeps-alpha=false,\
         background=ffffff,blur=0,sharpen=0,turn=0,trim=0;0;0;0,watermark=none"
    );
    for (one, other) in [
        ("w=400", "q=84,w=200,dpr=2,fit=crop,f=jpeg"),
        ("w=400,f=png,q=1", "w=400,f=png,q=99"),
        ("w=400,fit=pad", "w=400,fit=squeeze"),
        ("f=png,fit=pad", "f=png"),
        ("w=4,h=4,g=left", "w=4,h=4"),
        ("w=4,g=left,fit=cover", "w=4,fit=contain"),
        ("w=4,h=4,fit=cover,g=0.5x0.5", "w=4,h=4,fit=cover"),
        ("flip=hv", "rotate=180"),
        ("flip=hv,rotate=180", "f=jpeg"),
        ("flip=h,rotate=180", "flip=v"),
        ("trim=0;0;0;0", "f=jpeg"),
        ("trim=2;4;6;8", "trim=1;2;3;4,dpr=2"),
        ("sharpen=0", "anim=true"),
        ("anim=false", "anim=true"),
        ("bg=ffffff", "bg=00000000"),
        ("bg=808080", "bg=0001017f,f=jpeg"),
        ("w=4,h=4,fit=pad,f=png", "w=4,h=4,fit=pad,f=png,bg=ffffff"),
        ("preset=thumb", "w=96,h=96,fit=cover"),
    ] {
        assert_eq!(key(one), key(other));
        assert_eq!(plan(one, Format::Jpeg, ""), plan(other, Format::Jpeg, ""));
    }
    for (one, other) in [
        ("w=400", "w=400,q=79"),
        ("w=400,fit=contain", "w=400"),
        ("w=400,h=1,fit=pad", "w=400,h=1,fit=squeeze"),
        ("w=4,h=4,fit=cover,g=left", "w=4,h=4,fit=cover"),
        ("w=4,h=4,fit=crop,g=auto", "w=4,h=4,fit=crop"),
        ("f=png,bg=ffffff", "f=png"),
        ("blur=1", "blur=2"),
        ("sharpen=1", "sharpen=1.5"),
        ("rotate=90", "rotate=270"),
        ("flip=h,rotate=90", "flip=v,rotate=90"),
        ("trim=border", "trim=border;11"),
        ("trim=1;2;3;4", "trim=4;3;2;1"),
        ("watermark=logo", "watermark=seal"),
    ] {
        assert_ne!(key(one), key(other));
        assert_ne!(plan(one, Format::Jpeg, ""), plan(other, Format::Jpeg, ""));
    }
}

#[test]
fn a_flip_comes_before_a_rotation() {
    let turn = |text| plan(text, Format::Jpeg, "").turn;
    assert_eq!(turn("rotate=90,flip=h"), crate::render::Turn::FLIP_H.then(turn("rotate=90")));
    assert_ne!(turn("rotate=90,flip=h"), turn("rotate=90").then(crate::render::Turn::FLIP_H));
}

#[test]
fn presets_are_checked_and_contain_no_presets() {
    let mut catalogue = catalogue();
    for (name, options) in [
        ("x", "w=0"),
        ("x", "original"),
        ("x", "preset=thumb"),
        ("x", "watermark=none"),
        ("x", ""),
        ("", "w=1"),
        ("X", "w=1"),
        ("a b", "w=1"),
        ("a,b", "w=1"),
        ("é", "w=1"),
    ] {
        assert!(catalogue.add_preset(name, options).is_err(), "{name}: {options}");
    }
    assert!(catalogue.add_preset(&"x".repeat(33), "w=1").is_err());
    assert!(catalogue.add_preset(&"x".repeat(32), "w=1").is_ok());
    let more = (0..100).filter(|n| catalogue.add_preset(&format!("p{n}"), "w=1").is_ok()).count();
    assert_eq!(more, 64 - 3);
    assert!(catalogue.has_preset_of(&variant("h=96,fit=cover,w=96")));
    assert!(!catalogue.has_preset_of(&variant("h=96,fit=cover,w=97")));
}

#[test]
fn listed_is_a_listed_width_and_at_most_a_format() {
    let listed = |text| variant(text).is_listed(&[320, 640]);
    for yes in ["w=320", "width=640,f=auto", "f=png,w=320"] {
        assert!(listed(yes), "{yes}");
    }
    for no in ["w=321", "h=320", "f=auto", "w=320,h=320", "w=320,q=80", "w=320,fit=cover", "w=320,dpr=1"] {
        assert!(!listed(no), "{no}");
    }
}

/// A key's two names, and spellings of one value with the canonical one first.
type Key = (&'static str, &'static str, &'static [&'static [&'static str]]);

const KEYS: [Key; 15] = [
    ("width", "w", &[&["1"], &["400"], &["2000"]]),
    ("height", "h", &[&["1"], &["300"]]),
    ("fit", "fit", &[&["scale-down"], &["contain"], &["cover"], &["crop"], &["pad"], &["squeeze"]]),
    (
        "gravity",
        "g",
        &[
            &["center", "0.5x0.5", "0.50x0.5000"],
            &["left", "0x0.5", "0.0x0.5"],
            &["right", "1x0.5"],
            &["top", "0.5x0"],
            &["bottom", "0.5x1.0"],
            &["0.25x1", "0.2500x1.00"],
            &["auto"],
        ],
    ),
    ("quality", "q", &[&["1"], &["80"], &["100"]]),
    ("format", "f", &[&["auto"], &["jpeg"], &["png"], &["webp"], &["gif"], &["avif"]]),
    ("dpr", "dpr", &[&["1", "1.0"], &["2.5", "2.50"], &["0.5001"]]),
    ("background", "bg", &[&["ff00aa", "FF00AA", "ff00aaff", "Ff00AaFF"], &["00000080"]]),
    ("blur", "blur", &[&["1"], &["250"]]),
    ("sharpen", "sharpen", &[&["0", "0.0"], &["10", "10.0000"], &["0.5", "0.50"]]),
    ("rotate", "rotate", &[&["90"], &["180"], &["270"]]),
    ("flip", "flip", &[&["h"], &["v"], &["hv"]]),
    ("trim", "trim", &[&["border", "border;10"], &["border;0"], &["0;1;2;3"]]),
    ("anim", "anim", &[&["true"], &["false"]]),
    ("watermark", "watermark", &[&["logo"], &["seal"]]),
];

/// One key: its canonical text and two spellings.
fn spelt(key: Key) -> impl Strategy<Value = (String, [String; 2])> {
    let (long, short, values) = key;
    let spelling = move |value: &'static [&'static str]| {
        (any::<bool>(), prop::sample::select(value)).prop_map(move |(abbreviated, value)| {
            format!("{}={value}", if abbreviated { short } else { long })
        })
    };
    prop::sample::select(values).prop_flat_map(move |value| {
        let canonical = format!("{long}={}", value[0]);
        (Just(canonical), [spelling(value), spelling(value)])
    })
}

/// Some keys, in table order.
fn some_options() -> impl Strategy<Value = Vec<(String, [String; 2])>> {
    let keys: Vec<usize> = (0..KEYS.len()).collect();
    prop::sample::subsequence(keys, 1..=KEYS.len())
        .prop_flat_map(|keys| keys.into_iter().map(|n| spelt(KEYS[n]).boxed()).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn anything_parses_or_is_refused(text in ".{0,60}") {
        if let Err(bad) = parse(&text) {
            prop_assert!(bad.option.chars().count() <= MAX_ECHO);
        }
    }

    #[test]
    fn any_order_and_spelling_is_one_canonical_text(
        (options, order) in some_options().prop_flat_map(|options| {
            let order: Vec<usize> = (0..options.len()).collect();
            (Just(options), Just(order).prop_shuffle())
        }),
    ) {
        let expected: Vec<&str> = options.iter().map(|(text, _)| text.as_str()).collect();
        let expected = expected.join(",");
        let plain: Vec<&str> = options.iter().map(|(_, [one, _])| one.as_str()).collect();
        let shuffled: Vec<&str> = order.iter().map(|n| options[*n].1[1].as_str()).collect();
        let first = parse(&plain.join(",")).unwrap();
        prop_assert_eq!(&first, &parse(&shuffled.join(",")).unwrap());
        prop_assert_eq!(&first, &parse(&expected).unwrap());
        prop_assert_eq!(first.canonical(), expected);
    }

    #[test]
    fn a_key_given_twice_is_named(options in some_options(), which in any::<prop::sample::Index>()) {
        let again = &which.get(&options).1[1];
        let mut items: Vec<&str> = options.iter().map(|(text, _)| text.as_str()).collect();
        items.push(again);
        let said = parse(&items.join(",")).unwrap_err().to_string();
        prop_assert_eq!(said, format!("`{again}`: each option may be given once"));
    }

    #[test]
    fn nobody_waits_for_what_auto_chose_and_takes_long(
        options in some_options(),
        source in prop::sample::select(&Format::ALL),
        moves: bool,
        (avif, webp) in any::<(bool, bool)>(),
    ) {
        let text: Vec<&str> = options.iter().map(|(text, _)| text.as_str()).collect();
        let Ok(Rendition::Variant(options)) = parse(&text.join(",")) else { return Ok(()) };
        let plan = options.plan(source, moves, Accepts { avif, webp });
        let interim = options.interim(source, moves, Accepts { avif, webp });
        let is_auto = options.format == Some(FormatChoice::Auto);
        prop_assert_eq!(interim.is_some(), is_auto && plan.format == Format::Avif);
        if is_auto && plan.format == Format::Avif {
            let is_still = !moves || options.anim == Some(false);
            prop_assert!(avif && is_still);
        }
        if let Some(interim) = interim {
            prop_assert_eq!(interim, options.plan(source, moves, Accepts { avif: false, webp }));
        }
        if !is_auto {
            prop_assert_eq!(plan, options.plan(source, moves, Accepts::default()));
        }
    }

    #[test]
    fn numbers_out_of_range_are_named(
        (key, value) in prop_oneof![
            (Just("width"), 8193u32..=99_999), (Just("height"), 8193u32..=99_999),
            (Just("quality"), 101u32..=99_999), (Just("blur"), 251u32..=99_999),
            (Just("sharpen"), 11u32..=99_999), (Just("dpr"), 5u32..=99_999),
            (Just("rotate"), 271u32..=99_999),
        ],
    ) {
        let said = parse(&format!("fit=cover,{key}={value}")).unwrap_err().to_string();
        prop_assert!(said.starts_with(&format!("`{key}={value}`: must be ")), "{}", said);
    }
}
