//! Which path and method lead where.

use http::Method;

use crate::{access::Scope, config::Role, error::Error};

/// Everything that can be asked for, with the changing parts of the path as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Deliver { id: &'p str, options: &'p str },
    Authorize,

    CreateImage,
    ListImages,
    GetImage(&'p str),
    DeleteImage(&'p str),
    RevokeImage(&'p str),
    HoldImage(&'p str),
    ReleaseImage(&'p str),

    CreateUpload,
    CompleteUpload(&'p str),
    CancelUpload(&'p str),

    TusOptions,
    TusCreate,
    TusHead(&'p str),
    TusPatch(&'p str),
    TusTerminate(&'p str),

    CreatePost,
    ListPosts,
    GetPost(&'p str),
    PatchPost(&'p str),
    DeletePost(&'p str),

    GetProfile,
    PutProfile,
    GetProfileOf(&'p str),

    Follow(&'p str),
    Unfollow(&'p str),
    RemoveFollower(&'p str),

    CreateLinks,

    EraseUser(&'p str),
    GetErasure(&'p str),

    Describe,

    DemoPage,
    DocsPage,
    DemoFile(&'p str),
    DemoSignIn,
    DemoSignOut,
}

/// No route has more segments; what comes after stays in the last one and matches nothing.
const MAX_SEGMENTS: usize = 6;

/// Finds the route, or the 404 or 405 to answer. The demo's routes are there in `dev` alone, and what
/// is not this role's is not there.
pub(super) fn find<'p>(method: &Method, path: &'p str, role: Role, dev: bool) -> Result<Route<'p>, Error> {
    let path = path.strip_prefix('/').ok_or_else(Error::not_found)?;
    let mut segments = [""; MAX_SEGMENTS];
    let mut count = 0;
    for (place, segment) in segments.iter_mut().zip(path.splitn(MAX_SEGMENTS, '/')) {
        *place = segment;
        count += 1;
    }
    if let ["v1", "tus", rest @ ..] = &segments[..count]
        && role.controls()
    {
        return tus(method.as_str(), rest);
    }
    // A HEAD is a GET whose body is not sent (RFC 9110 §9.3.2); hyper leaves it out.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };

    let (found, allow) = match &segments[..count] {
        ["i", id, options] if role.delivers() => match method {
            "GET" => (Some(Route::Deliver { id, options }), "GET, HEAD"),
            _ => (None, "GET, HEAD"),
        },
        ["authz"] if role.delivers() => (only("GET", method, Route::Authorize), "GET, HEAD"),
        ["v1", rest @ ..] if role.controls() => api(method, rest)?,
        ["openapi.json"] if role.controls() => (only("GET", method, Route::Describe), "GET, HEAD"),
        [""] if dev => (only("GET", method, Route::DemoPage), "GET, HEAD"),
        ["docs"] if dev => (only("GET", method, Route::DocsPage), "GET, HEAD"),
        ["demo", name] if dev => (only("GET", method, Route::DemoFile(name)), "GET, HEAD"),
        ["dev", "session"] if dev => match method {
            "POST" => (Some(Route::DemoSignIn), ""),
            "DELETE" => (Some(Route::DemoSignOut), ""),
            _ => (None, "POST, DELETE"),
        },
        _ => return Err(Error::not_found()),
    };
    found.ok_or_else(|| Error::method_not_allowed(allow))
}

fn api<'p>(method: &str, segments: &[&'p str]) -> Result<(Option<Route<'p>>, &'static str), Error> {
    Ok(match *segments {
        ["images"] => match method {
            "POST" => (Some(Route::CreateImage), ""),
            "GET" => (Some(Route::ListImages), ""),
            _ => (None, "GET, HEAD, POST"),
        },
        ["images", id] => match method {
            "GET" => (Some(Route::GetImage(id)), ""),
            "DELETE" => (Some(Route::DeleteImage(id)), ""),
            _ => (None, "GET, HEAD, DELETE"),
        },
        ["images", id, "revoke"] => (only("POST", method, Route::RevokeImage(id)), "POST"),
        ["images", id, "hold"] => match method {
            "PUT" => (Some(Route::HoldImage(id)), ""),
            "DELETE" => (Some(Route::ReleaseImage(id)), ""),
            _ => (None, "PUT, DELETE"),
        },
        ["uploads"] => (only("POST", method, Route::CreateUpload), "POST"),
        ["uploads", id] => (only("DELETE", method, Route::CancelUpload(id)), "DELETE"),
        ["uploads", id, "complete"] => (only("POST", method, Route::CompleteUpload(id)), "POST"),
        ["posts"] => match method {
            "POST" => (Some(Route::CreatePost), ""),
            "GET" => (Some(Route::ListPosts), ""),
            _ => (None, "GET, HEAD, POST"),
        },
        ["posts", id] => match method {
            "GET" => (Some(Route::GetPost(id)), ""),
            "PATCH" => (Some(Route::PatchPost(id)), ""),
            "DELETE" => (Some(Route::DeletePost(id)), ""),
            _ => (None, "GET, HEAD, PATCH, DELETE"),
        },
        ["profile"] => match method {
            "GET" => (Some(Route::GetProfile), ""),
            "PUT" => (Some(Route::PutProfile), ""),
            _ => (None, "GET, HEAD, PUT"),
        },
        ["profiles", user] => (only("GET", method, Route::GetProfileOf(user)), "GET, HEAD"),
        ["following", user] => match method {
            "PUT" => (Some(Route::Follow(user)), ""),
            "DELETE" => (Some(Route::Unfollow(user)), ""),
            _ => (None, "PUT, DELETE"),
        },
        ["followers", user] => (only("DELETE", method, Route::RemoveFollower(user)), "DELETE"),
        ["users", user] => (only("DELETE", method, Route::EraseUser(user)), "DELETE"),
        ["erasures", id] => (only("GET", method, Route::GetErasure(id)), "GET, HEAD"),
        ["links"] => (only("POST", method, Route::CreateLinks), "POST"),
        _ => return Err(Error::not_found()),
    })
}

/// Resumable uploads: here a HEAD is not a GET, and OPTIONS has an answer.
fn tus<'p>(method: &str, segments: &[&'p str]) -> Result<Route<'p>, Error> {
    match (method, segments) {
        ("OPTIONS", [] | [_]) => Ok(Route::TusOptions),
        ("POST", []) => Ok(Route::TusCreate),
        ("HEAD", [id]) => Ok(Route::TusHead(id)),
        ("PATCH", [id]) => Ok(Route::TusPatch(id)),
        ("DELETE", [id]) => Ok(Route::TusTerminate(id)),
        (_, []) => Err(Error::method_not_allowed("OPTIONS, POST")),
        (_, [_]) => Err(Error::method_not_allowed("OPTIONS, HEAD, PATCH, DELETE")),
        _ => Err(Error::not_found()),
    }
}

fn only<'p>(wanted: &str, method: &str, route: Route<'p>) -> Option<Route<'p>> {
    (wanted == method).then_some(route)
}

impl Route<'_> {
    /// The route's name in metrics, and in the description of the API, whose `operationId` it is.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Deliver { .. } => "image",
            Self::Authorize => "authorize",
            Self::CreateImage => "create_image",
            Self::ListImages => "list_images",
            Self::GetImage(_) => "get_image",
            Self::DeleteImage(_) => "delete_image",
            Self::RevokeImage(_) => "revoke_image",
            Self::HoldImage(_) => "hold_image",
            Self::ReleaseImage(_) => "release_image",
            Self::CreateUpload => "create_upload",
            Self::CompleteUpload(_) => "complete_upload",
            Self::CancelUpload(_) => "cancel_upload",
            Self::TusOptions => "tus_options",
            Self::TusCreate => "tus_create",
            Self::TusHead(_) => "tus_head",
            Self::TusPatch(_) => "tus_patch",
            Self::TusTerminate(_) => "tus_terminate",
            Self::CreatePost => "create_post",
            Self::ListPosts => "list_posts",
            Self::GetPost(_) => "get_post",
            Self::PatchPost(_) => "patch_post",
            Self::DeletePost(_) => "delete_post",
            Self::GetProfile => "get_profile",
            Self::PutProfile => "put_profile",
            Self::GetProfileOf(_) => "get_profile_of",
            Self::Follow(_) => "follow",
            Self::Unfollow(_) => "unfollow",
            Self::RemoveFollower(_) => "remove_follower",
            Self::CreateLinks => "create_links",
            Self::EraseUser(_) => "erase_user",
            Self::GetErasure(_) => "get_erasure",
            Self::Describe => "describe",
            Self::DemoPage | Self::DocsPage | Self::DemoFile(_) | Self::DemoSignIn | Self::DemoSignOut => {
                "demo"
            }
        }
    }

    /// Whether it is counted as a client's request to the control API.
    pub(super) fn is_counted(&self) -> bool {
        !matches!(
            self,
            Self::Deliver { .. }
                | Self::Authorize
                | Self::TusOptions
                | Self::Describe
                | Self::DemoPage
                | Self::DocsPage
                | Self::DemoFile(_)
                | Self::DemoSignIn
                | Self::DemoSignOut
        )
    }

    /// What a service's key must be good for.
    pub(super) fn needs(&self) -> Scope {
        match self {
            Self::CreateLinks => Scope::Sign,
            Self::Deliver { .. }
            | Self::Authorize
            | Self::ListImages
            | Self::GetImage(_)
            | Self::TusOptions
            | Self::ListPosts
            | Self::GetPost(_)
            | Self::GetProfile
            | Self::GetProfileOf(_)
            | Self::GetErasure(_)
            | Self::Describe
            | Self::DemoPage
            | Self::DocsPage
            | Self::DemoFile(_) => Scope::Read,
            Self::CreateImage
            | Self::DeleteImage(_)
            | Self::RevokeImage(_)
            | Self::HoldImage(_)
            | Self::ReleaseImage(_)
            | Self::CreateUpload
            | Self::CompleteUpload(_)
            | Self::CancelUpload(_)
            | Self::TusCreate
            // It completes an upload that is whole.
            | Self::TusHead(_)
            | Self::TusPatch(_)
            | Self::TusTerminate(_)
            | Self::CreatePost
            | Self::PatchPost(_)
            | Self::DeletePost(_)
            | Self::PutProfile
            | Self::Follow(_)
            | Self::Unfollow(_)
            | Self::RemoveFollower(_)
            | Self::EraseUser(_)
            | Self::DemoSignIn
            | Self::DemoSignOut => Scope::Write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &Method, path: &str) -> u16 {
        status_as(Role::All, method, path)
    }

    fn status_as(role: Role, method: &Method, path: &str) -> u16 {
        find(method, path, role, true).map_or_else(|e| e.into_response().status().as_u16(), |_| 200)
    }

    /// Every path of the data plane and the control API, with its methods.
    const PATHS: &[(&str, &str)] = &[
        ("/i/x/original", "GET HEAD"),
        ("/v1/images", "GET HEAD POST"),
        ("/v1/images/x", "GET HEAD DELETE"),
        ("/v1/images/x/revoke", "POST"),
        ("/v1/images/x/hold", "PUT DELETE"),
        ("/v1/uploads", "POST"),
        ("/v1/uploads/x", "DELETE"),
        ("/v1/uploads/x/complete", "POST"),
        ("/v1/tus", "OPTIONS POST"),
        ("/v1/tus/x", "OPTIONS HEAD PATCH DELETE"),
        ("/v1/posts", "GET HEAD POST"),
        ("/v1/posts/x", "GET HEAD PATCH DELETE"),
        ("/v1/profile", "GET HEAD PUT"),
        ("/v1/profiles/x", "GET HEAD"),
        ("/v1/following/x", "PUT DELETE"),
        ("/v1/followers/x", "DELETE"),
        ("/v1/links", "POST"),
        ("/v1/users/x", "DELETE"),
        ("/v1/erasures/x", "GET HEAD"),
        ("/openapi.json", "GET HEAD"),
    ];
    /// The same of the demo.
    const DEMO: &[(&str, &str)] = &[
        ("/", "GET HEAD"),
        ("/docs", "GET HEAD"),
        ("/demo/photo.jpg", "GET HEAD"),
        ("/dev/session", "POST DELETE"),
    ];

    #[test]
    fn every_path_has_its_methods() {
        for (path, allowed) in PATHS.iter().chain(DEMO) {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
                let Ok(parsed) = Method::from_bytes(method.as_bytes()) else {
                    unreachable!("a valid method")
                };
                let expected = if allowed.split(' ').any(|m| m == method) { 200 } else { 405 };
                assert_eq!(status(&parsed, path), expected, "{method} {path}");
            }
        }
    }

    /// Neither can be forgotten: `label` has every route, or this file does not compile.
    #[test]
    fn every_route_is_described_and_everything_described_has_its_route() {
        let facts = crate::openapi::Facts {
            public_url: "",
            max_file_bytes: 1,
            presets: &[],
            watermarks: &[],
            max_link_secs: 1,
        };
        let document = crate::openapi::Document::new(facts).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&document.bytes).unwrap();
        let mut described = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let filled: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            let operations = item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
            for (method, operation) in operations {
                let parsed = method.to_ascii_uppercase().parse().unwrap();
                let label = find(&parsed, &filled.join("/"), Role::All, false).unwrap().label();
                let id = operation["operationId"].as_str().unwrap();
                // Two of a route's parameters have paths of their own in the document.
                let is_the_same =
                    [("image", "original"), ("image", "raw"), ("tus_options", "tus_options_of")];
                assert!(
                    label == id || is_the_same.contains(&(label, id)),
                    "{method} {path}: {id} for {label}"
                );
                described.insert(label);
            }
        }
        let labels = include_str!("route.rs").lines().filter(|line| line.trim_start().starts_with("Self::"));
        let labels = labels.filter_map(|line| line.split_once(" => \"")?.1.strip_suffix("\","));
        let labels = labels.filter(|label| *label != "demo");
        assert_eq!(described, labels.collect());
    }

    #[test]
    fn what_is_not_a_roles_is_not_there() {
        for (path, allowed) in PATHS {
            for method in
                [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS]
            {
                let in_all = if allowed.split(' ').any(|m| m == method.as_str()) { 200 } else { 405 };
                let of_delivery = path.starts_with("/i/");
                let expected = |there| if there { in_all } else { 404 };
                for (role, there) in
                    [(Role::All, true), (Role::Upload, !of_delivery), (Role::Deliver, of_delivery)]
                {
                    assert_eq!(status_as(role, &method, path), expected(there), "{role:?} {method} {path}");
                }
            }
        }
    }

    #[test]
    fn nearly_a_path_is_no_path() {
        for path in [
            "",
            "i/x/y",
            "//i/x/y",
            "/i",
            "/i/",
            "/i/x",
            "/i/x/",
            "/i/x/y/",
            "/i/x/y/z",
            "/i//x/y",
            "/I/x/y",
            "/v1",
            "/v1/",
            "/v1/images/",
            "/v1/images/x/",
            "/v1/images/x/revoke/y",
            "/v1/images/a/b/c/d/e/f",
            "/v1/tus/x/y",
            "/v1/tusx",
            "/v2/images",
        ] {
            // An empty id or option string is refused by what parses it, with the same 404 or a 400.
            if !["/i/x/", "/v1/images/"].contains(&path) {
                assert_eq!(status(&Method::GET, path), 404, "{path:?}");
            }
        }
    }

    #[test]
    fn the_demo_is_there_in_dev_alone() {
        for path in ["/", "/docs", "/demo/photo.jpg", "/demo/app.js", "/dev/session"] {
            assert!(
                find(&Method::GET, path, Role::All, false).is_err_and(|e| e.into_response().status() == 404),
                "{path}"
            );
        }
    }
}
