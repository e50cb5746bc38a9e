//! The options of a path, and the `Accept` header behind the first line's end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinhole_fuzz::{
    pictures::CATALOGUE,
    render::{Accepts, Format, MAX_SIDE, Rendition},
};

fuzz_target!(|input: &[u8]| {
    let Ok(input) = str::from_utf8(input) else { return };
    let (text, accept) = input.split_once('\n').unwrap_or((input, ""));
    let accepts = Accepts::parse(Some(accept));
    let rendition = match Rendition::parse(text, &CATALOGUE) {
        Ok(rendition) => rendition,
        Err(refusal) => {
            assert!(refusal.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{refusal}");
            return;
        }
    };

    // One meaning has one spelling, which has that meaning.
    let canonical = rendition.canonical();
    assert_eq!(Rendition::parse(&canonical, &CATALOGUE).as_ref(), Ok(&rendition), "{text} → {canonical}");
    assert_eq!(canonical, rendition.canonical());

    let Rendition::Variant(options) = rendition else { return };
    for (source, moves) in Format::ALL.into_iter().flat_map(|source| [(source, false), (source, true)]) {
        let plan = options.plan(source, moves, accepts);
        let sides = [plan.width, plan.height].into_iter().flatten();
        assert!(sides.into_iter().all(|side| (1..=MAX_SIDE).contains(&side)), "{plan}");
        assert!((1..=100).contains(&plan.quality), "{plan}");
        // Where the header plays no part, the cache does not ask about it.
        assert!(options.varies_by_accept() || plan == options.plan(source, moves, Accepts::default()), "{plan}");
    }
    let _ = options.is_listed(&[100, 200]);
    for width in [0, 1, MAX_SIDE, u32::MAX] {
        if let Ok(widened) = options.clone().with_width(width) {
            let canonical = Rendition::Variant(widened.clone()).canonical();
            assert_eq!(Rendition::parse(&canonical, &CATALOGUE), Ok(Rendition::Variant(widened)));
        }
    }
});
