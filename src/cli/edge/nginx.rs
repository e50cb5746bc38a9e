//! `pinhole edge nginx`: two configurations for nginx with njs, and the keys and origins that they include.

use std::{fmt::Write as _, fs, path::PathBuf};

use sha2::{Digest as _, Sha256};

use super::{
    address,
    files::{File, Nature},
};
use crate::{
    app::keys,
    cli::Failure,
    config::{Config, Secret, Target},
    id::hex,
};

/// For nginx with njs, as Debian 12 has them (nginx, libnginx-mod-http-js): verify.conf and ask.conf.
///
/// verify.conf checks links itself and is told of revocations by purges; ask.conf asks the origin, and needs a
/// service key of scope read to fetch with.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole edge nginx --config pinhole.toml --out /etc/pinhole-edge
  nginx -p /var/cache/pinhole-edge -c /etc/pinhole-edge/verify.conf

  pinhole key add edge --scopes read --config pinhole.toml >edge.key
  pinhole edge nginx --config pinhole.toml --out /etc/pinhole-edge --service-key-file edge.key
  nginx -p /var/cache/pinhole-edge -c /etc/pinhole-edge/ask.conf

listen.conf and limits.conf are yours: they are written once, and then left alone.")]
pub(super) struct Args {
    /// An origin as the edge reaches it, host:port; may be given several times. server.listen without any
    #[arg(long = "origin", value_name = "ADDR")]
    origins: Vec<String>,
    /// A file with the service key that ask.conf fetches pictures with
    #[arg(long, value_name = "FILE")]
    service_key_file: Option<PathBuf>,
}

pub(super) fn files(args: &Args, config: &Config) -> Result<Vec<File>, Failure> {
    let mut files = vec![
        File::fixed("verify.conf", include_str!("../../../nginx/verify.conf")),
        File::fixed("ask.conf", include_str!("../../../nginx/ask.conf")),
        File::fixed("http.conf", include_str!("../../../nginx/http.conf")),
        File::fixed("server.conf", include_str!("../../../nginx/server.conf")),
        File::fixed("pinhole.js", include_str!("../../../nginx/pinhole.js")),
        File {
            name: "listen.conf".into(),
            text: include_str!("../../../nginx/listen.conf").to_owned(),
            nature: Nature::Yours,
        },
        File {
            name: "limits.conf".into(),
            text: include_str!("../../../nginx/limits.conf").to_owned(),
            nature: Nature::Yours,
        },
        File { name: "origins.conf".into(), text: origins(args, config)?, nature: Nature::Ours },
        File { name: "keys.js".into(), text: keys(config)?, nature: Nature::Secret },
    ];
    if let Some(file) = &args.service_key_file {
        let named = |error: &dyn std::fmt::Display| {
            Failure::usage(format!("--service-key-file {}: {error}", file.display()))
        };
        let key = Secret::new(fs::read_to_string(file).map_err(|error| named(&error))?.trim());
        if key.is_empty() || !key.expose().bytes().all(is_plain) {
            return Err(named(
                &"it must hold one service key, as `pinhole key add edge --scopes read` prints it",
            ));
        }
        let text = format!("proxy_set_header Authorization \"Bearer {}\";\n", key.expose());
        files.push(File { name: "service_key.conf".into(), text, nature: Nature::Secret });
    }
    Ok(files)
}

/// Whether a character means nothing to nginx or JavaScript inside of a quoted text.
fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"._~+/=-".contains(&b)
}

/// The servers of an `upstream` block. One that fails three times within five seconds is left out for five.
fn origins(args: &Args, config: &Config) -> Result<String, Failure> {
    let mut origins = args.origins.clone();
    if origins.is_empty() {
        origins.push(address(config)?);
    }
    let mut text = String::from("# Written by `pinhole edge nginx`.\n");
    for origin in &origins {
        let host = origin.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"._-:[]".contains(&b);
        if !host.is_some_and(|(host, _)| !host.is_empty() && host.bytes().all(is_host)) {
            return Err(Failure::usage(format!(
                "--origin {origin}: must be host:port, such as 10.0.0.1:8080"
            )));
        }
        // Writing to a String never fails.
        let _ = writeln!(text, "server {origin} max_fails=3 fail_timeout=5s;");
    }
    Ok(text)
}

/// The keys of links, and what is known of who may purge, as a module of njs: so they are read at a reload, and not
/// for every request.
fn keys(config: &Config) -> Result<String, Failure> {
    let mut text =
        String::from("// Written by `pinhole edge nginx`; secret.\nexport default {\n    links: {\n");
    for key in keys::written(&config.links).map_err(Failure::usage)? {
        // `LinkKey::parse` has taken it, so there is a colon and nothing to escape.
        if let Some((kid, secret)) = key.expose().split_once(':') {
            let _ = writeln!(text, "        '{kid}': '{secret}',");
        }
    }
    text.push_str("    },\n    // SHA-256 of the tokens that purge.\n    purgers: [\n");
    for target in config.edge.targets.values() {
        if let Target::Nginx(servers) = target {
            let _ = writeln!(text, "        '{}',", hex(&Sha256::digest(servers.token.expose())));
        }
    }
    text.push_str("    ],\n};\n");
    Ok(text)
}
