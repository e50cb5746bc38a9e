//! Masters: what is stored beside an original, and that nobody sees whether it was there.

use crate::support::{TestApp, jpeg, picture, until};

/// What lies in the bucket under `masters/`.
async fn masters(app: &TestApp) -> Vec<String> {
    app.objects().await.into_iter().filter(|key| key.starts_with("masters/")).collect()
}

async fn shown(app: &TestApp, image: &str, options: &str) -> (Vec<u8>, image::DynamicImage) {
    let reply = app.get(&format!("/i/{image}/{options}")).user("alice").await.send().await.expect(200);
    (reply.body.to_vec(), reply.image())
}

const NONE: (&str, &str) = ("PINHOLE_MASTERS__SIDES", "");
const LATER: (&str, &str) = ("PINHOLE_MASTERS__MADE", "at_first_use");

#[tokio::test]
async fn an_upload_gets_the_masters_that_are_worth_it() {
    let app = TestApp::start();
    app.upload("alice", jpeg(610, 500, 1)).await;
    assert_eq!(masters(&app).await, [""; 0]);
    app.upload("alice", jpeg(1700, 900, 2)).await;
    assert_eq!(masters(&app).await.len(), 2, "1024 and 512 pixels");
    assert!(
        masters(&app).await.iter().all(|key| key.starts_with("masters/1/") || key.starts_with("masters/2/"))
    );
}

#[tokio::test]
async fn sizes_are_those_of_the_original_whatever_was_decoded() {
    // 1601 × 901: no master has exactly its shape.
    let source = jpeg(1601, 901, 3);
    let (app, plain) = (TestApp::start(), TestApp::start_with(&[NONE]));
    let (image, original) = (app.upload("alice", source.clone()).await, plain.upload("alice", source).await);
    assert_eq!(masters(&plain).await, [""; 0]);
    for options in [
        "width=333",
        "height=77",
        "width=100,height=100,fit=cover",
        "width=100,height=100,fit=cover,gravity=auto",
        "width=100,height=60,fit=crop,gravity=right",
        "width=90,height=90,fit=pad,background=00ff00",
        "width=120,height=40,fit=squeeze",
        "width=200,rotate=90,flip=h",
        "width=9,dpr=3.5",
        "width=64,blur=3,sharpen=2",
    ] {
        let options = format!("{options},format=png");
        let ((_, found), (_, expected)) =
            (shown(&app, &image, &options).await, shown(&plain, &original, &options).await);
        let (found, expected) = (found.into_rgb8(), expected.into_rgb8());
        assert_eq!(found.dimensions(), expected.dimensions(), "{options}");
        let apart: u64 = found.iter().zip(expected.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = apart / u64::try_from(found.len()).unwrap();
        assert!(mean <= 3, "{options}: {mean} levels apart on average");
    }
}

#[tokio::test]
async fn when_masters_are_made_changes_no_byte() {
    let source = jpeg(1700, 1200, 4);
    let (app, later) = (TestApp::start(), TestApp::start_with(&[LATER]));
    let (image, other) = (app.upload("alice", source.clone()).await, later.upload("alice", source).await);
    assert_eq!(masters(&later).await, [""; 0], "made when they are needed");
    let (made_before, _) = shown(&app, &image, "width=300").await;
    let (made_now, _) = shown(&later, &other, "width=300").await;
    assert_eq!(made_before, made_now);
    assert_eq!(masters(&later).await.len(), 2, "and kept, all of them");
}

#[tokio::test]
async fn a_master_that_was_lost_is_made_again() {
    let app =
        TestApp::start_with(&[("PINHOLE_CACHE__MEMORY_BYTES", "0"), ("PINHOLE_CACHE__BUCKET_TTL_SECS", "0")]);
    let image = app.upload("alice", jpeg(1700, 1200, 5)).await;
    let (before, _) = shown(&app, &image, "width=300").await;
    let (kept, store) = (masters(&app).await, app.store());
    let names: Vec<_> = kept.iter().map(|key| pinhole::store::ObjectName::parse(key).unwrap()).collect();
    store.delete(&names).await.unwrap();
    assert_eq!(masters(&app).await, [""; 0]);
    let (after, _) = shown(&app, &image, "width=300").await;
    assert_eq!(before, after);
    assert_eq!(masters(&app).await, kept);
}

#[tokio::test]
async fn transparency_and_flat_colours_survive_their_masters() {
    let app = TestApp::start();
    let mut source = image::DynamicImage::from(picture(900, 600, 6)).into_rgba8();
    for (x, _, pixel) in source.enumerate_pixels_mut() {
        pixel.0 = if x < 450 { [255, 0, 0, 0] } else { [0, 0, 255, 255] };
    }
    let mut file = std::io::Cursor::new(Vec::new());
    source.write_to(&mut file, image::ImageFormat::Png).unwrap();
    let image = app.upload("alice", file.into_inner()).await;
    assert_eq!(masters(&app).await.len(), 1);
    let (_, found) = shown(&app, &image, "width=90").await;
    let found = found.into_rgba8();
    assert_eq!(found.get_pixel(10, 30)[3], 0);
    assert_eq!(found.get_pixel(80, 30).0, [0, 0, 255, 255]);
}

#[tokio::test]
async fn masters_go_with_their_image() {
    for when in ["at_ingest", "at_first_use"] {
        let app = TestApp::start_with(&[
            ("PINHOLE_MASTERS__MADE", when),
            ("PINHOLE_UPLOAD__SWEEP_SECS", "1"),
            ("PINHOLE_BUCKET__OPERATION_TIMEOUT_SECS", "3"),
        ]);
        let image = app.upload("alice", jpeg(1700, 1200, 7)).await;
        shown(&app, &image, "width=300").await;
        assert_eq!(masters(&app).await.len(), 2, "{when}");
        app.request("DELETE", &format!("/v1/images/{image}")).user("alice").await.send().await.expect(204);
        until(when, async || app.objects().await.is_empty()).await;
    }
}

#[tokio::test]
async fn metadata_and_orientation_end_with_the_original() {
    let app = TestApp::start();
    let source = crate::files::jpeg_with_orientation(&picture(900, 600, 8), 6);
    let image = app.upload("alice", source).await;
    let keys = masters(&app).await;
    assert_eq!(keys.len(), 1);
    let (_, found) = shown(&app, &image, "width=100").await;
    assert_eq!((found.width(), found.height()), (100, 150), "upright");
}
