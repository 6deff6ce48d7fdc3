//! Takes out what must not leave the node: passwords, tokens, keys, the content of Secrets.

use caracal_datastore::{Kind, Object};
use serde_json::Value;

/// Fields whose text is a secret, in small letters. References to Secrets (`secretKeyRef`) are not texts, and stay.
const SECRET_FIELDS: [&str; 7] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "key",
    "keydata",
    "privatekey",
];
/// What stands in their place.
const BLANK: &str = "(blanked)";

/// Blanks the secrets of a configuration.
pub(super) fn blank(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // `name` and `key` of a reference say where a secret is, not what it is.
            let is_reference = fields.contains_key("name") && fields.contains_key("key");
            for (name, field) in fields {
                let secret = is_secret(name) && !is_reference;
                match field {
                    Value::String(text) if secret && !text.is_empty() => BLANK.clone_into(text),
                    Value::Number(_) if secret => *field = BLANK.into(),
                    field => blank(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank),
        _ => {}
    }
}

/// Blanks those of a resource. An annotation may hold a whole manifest, or options of a session.
pub(super) fn blank_object(object: &mut Object) {
    for text in object.metadata.annotations.values_mut() {
        let small = text.to_lowercase();
        if ["password", "secret", "token"]
            .iter()
            .any(|word| small.contains(word))
        {
            BLANK.clone_into(text);
        }
    }
    if object.key.kind == Kind::Secret {
        object.metadata.annotations.clear();
        for field in ["data", "stringData"] {
            let data = object.spec.get_mut(field).and_then(Value::as_object_mut);
            for value in data.into_iter().flat_map(|data| data.values_mut()) {
                *value = BLANK.into();
            }
        }
        return;
    }
    blank(&mut object.spec);
}

fn is_secret(field: &str) -> bool {
    let small = field.to_lowercase().replace(['_', '-'], "");
    SECRET_FIELDS.contains(&small.as_str()) || small.ends_with("password")
}
