//! `pinhole key`: the keys that services authenticate with.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng as _, rngs::SysRng};
use serde::Serialize;

use super::{Failure, say, settings, with_ledger};
use crate::{
    access::{Scope, Scopes},
    clock,
    db::{
        Db,
        service_keys::{self, ServiceKeyRow},
    },
    id::KeyId,
    identity::service_key_hash,
};

/// What every key begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "pinhole_";
/// Random bytes in a key.
const KEY_BYTES: usize = 32;
/// The longest name of a key, in characters.
const MAX_NAME_CHARS: usize = 100;

/// Makes, lists and retires the keys that services authenticate with.
///
/// The database keeps their hashes alone. Servers that run know of a change at once, or within a second.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinhole key add backend --config pinhole.toml
  pinhole key add edge --scopes read --config pinhole.toml
  pinhole key list --config pinhole.toml
  pinhole key retire 01890a5d-ac96-774b-bcce-b302099a8057 --config pinhole.toml")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    settings: settings::From,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Makes a key and prints it, once
    #[command(after_help = "Examples:
  pinhole key add backend --config pinhole.toml
  pinhole key add edge --scopes read --config pinhole.toml >edge.key
  pinhole key add app --scopes read,sign --json --config pinhole.toml

--json prints {\"id\", \"name\", \"scopes\": [\"read\", …], \"created_at\", \"retired_at\": null, \"key\"}.")]
    Add {
        /// What it is for, for those who read the list
        name: String,
        /// What it is good for: read (see images, and what is known of them), write (change things), sign (mint links)
        #[arg(long, value_name = "LIST", default_value_t = Scopes::ALL)]
        scopes: Scopes,
        /// Print the key, and what is known of it, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints all keys, without the keys themselves
    #[command(after_help = "Examples:
  pinhole key list --config pinhole.toml
  pinhole key list --json --config pinhole.toml

--json prints {\"keys\": [{\"id\", \"name\", \"scopes\": [\"read\", …], \"created_at\", \"retired_at\"}, …]}, times as RFC 3339 has them;
retired_at is null while a key is in use.")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Makes a key worthless, for good
    #[command(after_help = "Example:
  pinhole key retire 01890a5d-ac96-774b-bcce-b302099a8057 --config pinhole.toml")]
    Retire {
        /// Its id, as the list has it
        id: String,
    },
}

/// All keys, as JSON.
#[derive(Serialize)]
struct Listed {
    keys: Vec<KeyView>,
}

#[derive(Serialize)]
struct KeyView {
    id: String,
    name: String,
    scopes: Vec<&'static str>,
    created_at: String,
    retired_at: Option<String>,
    /// The key itself, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl KeyView {
    fn of(row: &ServiceKeyRow, key: Option<String>) -> Self {
        let scopes = [Scope::Read, Scope::Write, Scope::Sign].into_iter();
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            scopes: scopes.filter(|scope| row.scopes.allow(*scope)).map(Scope::as_str).collect(),
            created_at: clock::rfc3339(row.created_micros),
            retired_at: row.retired_micros.map(clock::rfc3339),
            key,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    with_ledger(&args.settings.load()?, async |db| match &args.what {
        What::Add { name, scopes, json } => add(db, name, *scopes, *json).await,
        What::List { json } => list(db, *json).await,
        What::Retire { id } => retire(db, id).await,
    })
}

async fn add(db: &Db, name: &str, scopes: Scopes, as_json: bool) -> Result<String, Failure> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(Failure::usage(format!("a name has 1 to {MAX_NAME_CHARS} characters, on one line")));
    }
    let mut secret = [0; KEY_BYTES];
    SysRng.try_fill_bytes(&mut secret).map_err(Failure::failed)?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let row = ServiceKeyRow {
        id: KeyId::new(),
        name: name.to_owned(),
        scopes,
        created_micros: clock::now_micros(),
        retired_micros: None,
    };
    let mut tx = db.begin().await.map_err(Failure::failed)?;
    service_keys::insert(&mut tx, &row, &service_key_hash(&key)).await.map_err(Failure::failed)?;
    tx.commit().await.map_err(Failure::failed)?;
    if as_json {
        return say::json(&KeyView::of(&row, Some(key)));
    }
    eprintln!("key {} ({}) is for {}; it is shown this once:", row.id, row.name, row.scopes);
    Ok(format!("{key}\n"))
}

async fn list(db: &Db, as_json: bool) -> Result<String, Failure> {
    let mut conn = db.read().await.map_err(Failure::failed)?;
    let keys = service_keys::list(&mut conn).await.map_err(Failure::failed)?;
    if as_json {
        return say::json(&Listed { keys: keys.iter().map(|key| KeyView::of(key, None)).collect() });
    }
    let line = |key: &ServiceKeyRow| {
        let state = match key.retired_micros {
            None => "in use".to_owned(),
            Some(at) => format!("retired {}", clock::rfc3339(at)),
        };
        let (made, scopes) = (clock::rfc3339(key.created_micros), key.scopes.to_string());
        format!("{}  {scopes:<15}  made {made}  {state}  {}\n", key.id, key.name)
    };
    Ok(keys.iter().map(line).collect())
}

async fn retire(db: &Db, id: &str) -> Result<String, Failure> {
    let unknown = || Failure::failed(format!("{id}: no such key is in use; pinhole key list shows all"));
    let id = KeyId::parse(id).ok_or_else(unknown)?;
    let mut tx = db.begin().await.map_err(Failure::failed)?;
    if !service_keys::retire(&mut tx, id, clock::now_micros()).await.map_err(Failure::failed)? {
        return Err(unknown());
    }
    tx.commit().await.map_err(Failure::failed)?;
    Ok(format!("{id} is retired\n"))
}
