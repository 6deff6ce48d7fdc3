//! Who was faster, and with what.

use caracal_datastore::{Kind, Object, manifest};
use serde_json::Value;

use crate::failure::{Failure, Sort};

/// What to say when others changed an object each time that it was to be written: `before` as it was first read, `now`
/// as it is.
pub(crate) fn failure(before: Option<&Object>, now: Option<&Object>) -> Failure {
    let Some(some) = now.or(before) else {
        return Failure::new(Sort::Failed, "an object comes and goes; try again");
    };
    let key = &some.key;
    let what = match (before, now) {
        (Some(_), None) => "is deleted".to_owned(),
        (None, _) => "was created".to_owned(),
        (Some(before), Some(now)) => {
            let found = differences(before, now);
            match found.is_empty() {
                true => "was written with the same content".to_owned(),
                false => found,
            }
        }
    };
    let who = now.and_then(manager).map_or_else(
        || "somebody else".to_owned(),
        |manager| format!("somebody else ({manager})"),
    );
    Failure::new(
        Sort::Failed,
        format!(
            "{key} was changed by {who} each time before it could be written: {what}; try again"
        ),
    )
}

/// Who wrote last, where the datastore keeps that (Kubernetes).
fn manager(object: &Object) -> Option<&str> {
    let fields = object.metadata.extra.get("managedFields")?.as_array()?;
    let last = fields.iter().max_by_key(|entry| entry["time"].as_str())?;
    last["manager"].as_str()
}

/// Fields that are other than before, in words; none: it is the same. A Secret's are not told.
pub(crate) fn differences(before: &Object, now: &Object) -> String {
    let mut found = Vec::new();
    let [old, new] = [before, now].map(manifest::to_value);
    compare("", &old, &new, &mut found);
    match before.key.kind {
        Kind::Secret if !found.is_empty() => "other values".to_owned(),
        _ => found.join(", "),
    }
}

fn compare(path: &str, before: &Value, now: &Value, found: &mut Vec<String>) {
    if before == now || found.len() >= SHOWN {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (before, now) {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            if matches!(
                name.as_str(),
                "managedFields" | "resourceVersion" | "generation"
            ) {
                continue;
            }
            let below = match path.is_empty() {
                true => name.clone(),
                false => format!("{path}.{name}"),
            };
            compare(&below, &before[name], &now[name], found);
        }
        return;
    }
    found.push(format!("{path} is {now} and was {before}"));
}

/// So many fields are told.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    //! Words about a race.

    use caracal_datastore::{Key, Metadata};
    use serde_json::json;

    use super::*;

    fn object(spec: Value) -> Object {
        Object {
            key: Key::new(Kind::IPPool, "a"),
            metadata: Metadata {
                name: "a".to_owned(),
                ..Metadata::default()
            },
            spec,
            revision: None,
        }
    }

    #[test]
    fn a_conflict_says_who_and_what() {
        let before = object(json!({"cidr": "10.0.0.0/8", "ipipMode": "Never"}));
        let mut now = object(json!({"cidr": "10.0.0.0/8", "ipipMode": "Always"}));
        let said = failure(Some(&before), Some(&now)).words;
        assert_eq!(
            said,
            [
                "IPPool a was changed by somebody else each time before it could be written: spec.ipipMode is \"Always\" \
                 and was \"Never\"; try again"
            ]
        );
        let managed = json!([
            {"manager": "kubectl", "time": "2026-01-02T00:00:00Z"},
            {"manager": "operator", "time": "2026-01-03T00:00:00Z"},
        ]);
        now.metadata
            .extra
            .insert("managedFields".to_owned(), managed);
        let said = failure(Some(&before), Some(&now)).words.remove(0);
        assert!(said.contains("somebody else (operator)"), "{said}");
        let said = failure(Some(&before), None).words.remove(0);
        assert!(said.contains("is deleted"), "{said}");
    }
}
