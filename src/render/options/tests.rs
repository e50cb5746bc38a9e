//! The option string's laws, as tests.

use proptest::prelude::*;

use super::*;
use crate::render::Format;

fn variant(text: &str) -> Options {
    match Rendition::parse(text).unwrap() {
        Rendition::Variant(options) => options,
        other => unreachable!("{text} is {other:?}"),
    }
}

fn plan(text: &str, source: Format, accept: &str) -> Plan {
    variant(text).plan(source, Accepts::parse(Some(accept)))
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
    ] {
        assert_eq!(Rendition::parse(given).unwrap().canonical(), canonical);
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
        assert!(Rendition::parse(bad).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn refusals_name_the_option_and_what_is_allowed() {
    for (bad, says) in [
        ("w=1,h=0", "`h=0`: must be a whole number from 1 to 8192 after dpr"),
        ("dpr=4,w=8000", "`width=8000`: must be a whole number from 1 to 8192 after dpr"),
        ("q=101", "`q=101`: must be a whole number from 1 to 100"),
        ("w=1,width=2", "`width=2`: each option may be given once"),
        ("format=avif", "`format=avif`: this format is not available yet"),
        ("gravity=auto", "`gravity=auto`: this option is not available yet"),
        ("preset=thumb", "`preset=thumb`: this option is not available yet"),
    ] {
        assert_eq!(Rendition::parse(bad).unwrap_err().to_string(), says);
    }
}

#[test]
fn refusals_repeat_little_and_only_plain_text() {
    let said = Rendition::parse(&format!("<\n\u{202e}é>{}", "x".repeat(9999))).unwrap_err();
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
        ("f=jpeg", Format::Png, "image/webp", Format::Jpeg),
        ("w=1", Format::Avif, "", Format::Webp),
        ("f=auto", Format::Avif, "image/avif,image/webp", Format::Webp),
        ("f=auto", Format::Avif, "image/avif", Format::Jpeg),
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
        ("f=jpeg", Format::Gif, "", None),
        ("f=gif", Format::Png, "", Some(Format::Gif)),
        ("w=1", Format::Png, "", None),
        ("f=webp", Format::Jpeg, "", None),
    ] {
        assert_eq!(plan(text, source, accept).animation, animation, "{text} {source}");
    }
}

#[test]
fn same_bytes_same_plan() {
    let key = |text| plan(text, Format::Jpeg, "").to_string();
    assert_eq!(key("w=400"), "width=400,height=auto,fit=scale-down,quality=80,format=jpeg,animation=none");
    assert_eq!(key("w=400"), key("q=80,w=200,dpr=2,fit=crop,f=jpeg"));
    assert_eq!(key("w=400,f=png,q=1"), key("w=400,f=png,q=99"));
    assert_eq!(key("w=400,fit=pad"), key("w=400,fit=squeeze"));
    assert_eq!(key("f=png,fit=pad"), key("f=png"));
    assert_eq!(key("w=400"), key("w=400,anim=false"));
    assert_ne!(key("w=400"), key("w=400,q=79"));
    assert_ne!(key("w=400,fit=contain"), key("w=400"));
    assert_ne!(key("w=400,h=1,fit=pad"), key("w=400,h=1,fit=squeeze"));
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

proptest! {
    #[test]
    fn anything_parses_or_is_refused(text in ".{0,60}") {
        if let Err(bad) = Rendition::parse(&text) {
            prop_assert!(bad.option.chars().count() <= MAX_ECHO);
        }
    }

    #[test]
    fn canonical_is_a_fixed_point(
        width in prop::option::of(1u32..=2048), height in prop::option::of(1u32..=2048),
        fit in prop::option::of(prop::sample::select(vec!["scale-down", "contain", "cover", "crop", "pad", "squeeze"])),
        quality in prop::option::of(1u8..=100), dpr in prop::option::of(5_000u32..=40_000),
        format in prop::option::of(prop::sample::select(vec!["auto", "jpeg", "png", "webp", "gif"])),
        anim in prop::option::of(any::<bool>()),
        rotation in 0usize..6,
    ) {
        let mut items = Vec::new();
        items.extend(width.map(|v| format!("w={v}")));
        items.extend(height.map(|v| format!("h={v}")));
        items.extend(fit.map(|v| format!("fit={v}")));
        items.extend(quality.map(|v| format!("q={v}")));
        items.extend(format.map(|v| format!("f={v}")));
        items.extend(dpr.map(|v| format!("dpr={}.{:04}", v / 10_000, v % 10_000)));
        items.extend(anim.map(|v| format!("anim={v}")));
        prop_assume!(!items.is_empty());
        let middle = rotation % items.len();
        items.rotate_left(middle);

        let first = Rendition::parse(&items.join(",")).unwrap();
        let again = Rendition::parse(&first.canonical()).unwrap();
        prop_assert_eq!(first, again);
        prop_assert_eq!(first.canonical(), again.canonical());
    }
}
