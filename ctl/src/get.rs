//! `get`.

use std::sync::Arc;

use caracal_datastore::{Datastore, Key, Kind, Object, Selector, StoreError, manifest};
use serde_json::{Value, json};

use crate::cli::{GetArgs, GetFormat, Sources};
use crate::columns;
use crate::custom_columns::CustomColumns;
use crate::failure::{Failure, Sort};
use crate::jsonpath::Template;
use crate::manifests;
use crate::outcome::Outcome;
use crate::output;
use crate::resources::{key, kind};

/// The command.
pub(crate) async fn get(store: &Arc<dyn Datastore>, args: &GetArgs) -> Result<Outcome, Failure> {
    let printer = Printer::of(&args.output)?;
    let mut found = Lot::default();
    match &args.kind {
        Some(words) => {
            for word in words.split(',') {
                of_kind(store, kind(word)?, args, &mut found).await?;
            }
        }
        None => of_manifests(store, args, &mut found).await?,
    }
    let mut outcome = found.outcome;
    if found.objects.is_empty() && outcome.failure.is_some() {
        return Ok(outcome);
    }
    outcome.text = printer.text(&found.kinds, &found.objects, args)?;
    Ok(outcome)
}

/// What was found, and what was not.
#[derive(Default)]
struct Lot {
    kinds: Vec<Kind>,
    objects: Vec<Object>,
    outcome: Outcome,
}

async fn of_kind(
    store: &Arc<dyn Datastore>,
    kind: Kind,
    args: &GetArgs,
    lot: &mut Lot,
) -> Result<(), Failure> {
    lot.kinds.push(kind);
    if args.names.is_empty() || args.all_namespaces {
        let selector = args.selector.as_deref().map(selector).transpose()?;
        let mut objects = store.list(kind).await?;
        objects.retain(|object| {
            let elsewhere = kind.namespaced()
                && args.namespace.is_some()
                && object.key.namespace != args.namespace;
            let unwanted = selector
                .as_ref()
                .is_some_and(|selector| !selector.matches(&object.metadata.labels));
            !elsewhere && !unwanted
        });
        if args.names.is_empty() {
            lot.objects.extend(objects);
            return Ok(());
        }
        for name in &args.names {
            let before = lot.objects.len();
            let named = objects.iter().filter(|object| object.key.name == *name);
            lot.objects.extend(named.cloned());
            if lot.objects.len() == before {
                let words = format!("{kind} {name} does not exist in any namespace");
                lot.outcome.fails(Failure::new(Sort::NotFound, words));
            }
        }
        return Ok(());
    }
    for name in &args.names {
        let key = key(kind, name, args.namespace.as_deref());
        match store.get(&key).await? {
            Some(object) => lot.objects.push(object),
            None => lot.outcome.fails(StoreError::NotFound(key).into()),
        }
    }
    Ok(())
}

/// What manifests name, as it is in the datastore.
async fn of_manifests(
    store: &Arc<dyn Datastore>,
    args: &GetArgs,
    lot: &mut Lot,
) -> Result<(), Failure> {
    let sources = Sources {
        filename: args.filename.clone(),
        recursive: args.recursive,
        skip_empty: false,
        namespace: args.namespace.clone(),
    };
    let read = manifests::read(&sources)?;
    lot.outcome.notes = read.notes;
    for found in read.objects {
        let key = found.object.key;
        if !lot.kinds.contains(&key.kind) {
            lot.kinds.push(key.kind);
        }
        match store.get(&key).await? {
            Some(object) => lot.objects.push(object),
            None => lot.outcome.fails(StoreError::NotFound(key).into()),
        }
    }
    Ok(())
}

/// Calico's selector, or kubectl's (`a=b,c!=d,e,!f`).
fn selector(text: &str) -> Result<Selector, Failure> {
    let calicos = Selector::parse(text);
    let fault = match calicos {
        Ok(selector) => return Ok(selector),
        Err(fault) => Failure::new(Sort::Usage, format!("selector {text:?}: {fault}")),
    };
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_./=!,".contains(c);
    if !text.chars().all(bare) {
        return Err(fault);
    }
    let kubectls: Vec<String> = text.split(',').map(kubectls_term).collect();
    Selector::parse(&kubectls.join(" && ")).map_err(|_| fault)
}

fn kubectls_term(term: &str) -> String {
    let term = term.trim();
    for (sign, calicos) in [("!=", "!="), ("==", "=="), ("=", "==")] {
        if let Some((label, value)) = term.split_once(sign) {
            return format!("{} {calicos} {:?}", label.trim(), value.trim());
        }
    }
    match term.strip_prefix('!') {
        Some(label) => format!("!has({label})"),
        None => format!("has({term})"),
    }
}

/// How to print, parsed before anything is asked for.
enum Printer {
    Table { wide: bool },
    Json,
    Yaml,
    Name,
    JsonPath(Template),
    Custom(CustomColumns),
}

impl Printer {
    fn of(format: &GetFormat) -> Result<Printer, Failure> {
        let usage = |why: String| Failure::new(Sort::Usage, format!("--output: {why}"));
        Ok(match format {
            GetFormat::Table => Printer::Table { wide: false },
            GetFormat::Wide => Printer::Table { wide: true },
            GetFormat::Json => Printer::Json,
            GetFormat::Yaml => Printer::Yaml,
            GetFormat::Name => Printer::Name,
            GetFormat::JsonPath(text) => Printer::JsonPath(Template::parse(text).map_err(usage)?),
            GetFormat::CustomColumns(text) => {
                Printer::Custom(CustomColumns::parse(text).map_err(usage)?)
            }
        })
    }

    fn text(&self, kinds: &[Kind], objects: &[Object], args: &GetArgs) -> Result<String, Failure> {
        // A single object that was asked for by name is itself; everything else is a list.
        let single = args.names.len() == 1 && kinds.len() == 1;
        let root = || match objects {
            [object] if single => manifest::to_value(object),
            objects => list(kinds, objects),
        };
        let failed = |why: String| Failure::new(Sort::Failed, why);
        match self {
            Printer::Table { wide } => Ok(tables(kinds, objects, *wide, args.no_headers)),
            Printer::Json => output::json(&root()),
            Printer::Yaml => output::documents(objects),
            Printer::Name => Ok(objects.iter().map(|one| path(&one.key) + "\n").collect()),
            Printer::JsonPath(template) => template.print(&root()).map_err(failed),
            Printer::Custom(columns) => {
                let values: Vec<Value> = objects.iter().map(manifest::to_value).collect();
                let table = columns.table(&values).map_err(failed)?;
                Ok(headed(table, args.no_headers))
            }
        }
    }
}

/// One table for each kind that was asked for.
fn tables(kinds: &[Kind], objects: &[Object], wide: bool, no_headers: bool) -> String {
    let tables = kinds.iter().map(|kind| {
        let of_kind = objects.iter().filter(|object| object.key.kind == *kind);
        let of_kind: Vec<&Object> = of_kind.collect();
        match of_kind.is_empty() {
            true => columns::table(*kind, &of_kind, wide),
            false => headed(columns::table(*kind, &of_kind, wide), no_headers),
        }
    });
    tables.collect::<Vec<String>>().join("\n")
}

fn headed(table: String, no_headers: bool) -> String {
    match table.split_once('\n') {
        Some((_, rows)) if no_headers => rows.to_owned(),
        _ => table,
    }
}

/// `IPPool/default-ipv4-ippool`.
fn path(key: &Key) -> String {
    match &key.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", key.kind, key.name),
        None => format!("{}/{}", key.kind, key.name),
    }
}

fn list(kinds: &[Kind], objects: &[Object]) -> Value {
    let (version, kind) = match kinds {
        [kind] => (kind.api_version(), format!("{kind}List")),
        _ => ("v1", "List".to_owned()),
    };
    json!({
        "apiVersion": version,
        "kind": kind,
        "items": objects.iter().map(manifest::to_value).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
