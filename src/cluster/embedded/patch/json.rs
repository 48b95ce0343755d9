//! RFC 6902: a list of operations, all of which must succeed.

use serde_json::Value;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    Add(Pointer, Value),
    Remove(Pointer),
    Replace(Pointer, Value),
    Move { from: Pointer, to: Pointer },
    Copy { from: Pointer, to: Pointer },
    Test(Pointer, Value),
}

/// Where an operation works: unescaped steps from the root.
pub type Pointer = Vec<String>;

/// Reads a patch document.
pub fn parse(body: &[u8]) -> Result<Vec<Operation>, String> {
    let patch: Value =
        serde_json::from_slice(body).map_err(|error| format!("error decoding patch: {error}"))?;
    let operations = patch.as_array().ok_or(
        "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
    )?;
    operations.iter().map(operation).collect()
}

fn operation(operation: &Value) -> Result<Operation, String> {
    let pointer = |name: &str| {
        let text = operation[name].as_str();
        text.and_then(pointer).ok_or_else(|| format!("error decoding patch: bad `{name}`"))
    };
    // An absent value is null, as in the original.
    let value = || operation["value"].clone();
    Ok(match operation["op"].as_str().unwrap_or_default() {
        "add" => Operation::Add(pointer("path")?, value()),
        "remove" => Operation::Remove(pointer("path")?),
        "replace" => Operation::Replace(pointer("path")?, value()),
        "move" => Operation::Move { from: pointer("from")?, to: pointer("path")? },
        "copy" => Operation::Copy { from: pointer("from")?, to: pointer("path")? },
        "test" => Operation::Test(pointer("path")?, value()),
        other => return Err(format!("error decoding patch: Unexpected kind: {other}")),
    })
}

fn pointer(text: &str) -> Option<Pointer> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let steps = text.strip_prefix('/')?.split('/');
    Some(steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// Applies operations in order; on failure the target is left half changed, so
/// pass a copy.
pub fn apply(target: &mut Value, operations: &[Operation]) -> Result<(), String> {
    for operation in operations {
        match operation {
            Operation::Add(path, value) => add(target, path, value.clone())?,
            Operation::Remove(path) => {
                remove(target, path)?;
            }
            Operation::Replace(path, value) => {
                *find_mut(target, path).ok_or_else(|| missing(path))? = value.clone();
            }
            Operation::Move { from, to } => {
                let value = remove(target, from)?;
                add(target, to, value)?;
            }
            Operation::Copy { from, to } => {
                let value = find(target, from).ok_or_else(|| missing(from))?.clone();
                add(target, to, value)?;
            }
            Operation::Test(path, value) => {
                if find(target, path).unwrap_or(&Value::Null) != value {
                    return Err(format!("test of /{} failed", path.join("/")));
                }
            }
        }
    }
    Ok(())
}

fn missing(path: &Pointer) -> String {
    format!("/{} does not exist", path.join("/"))
}

fn index(step: &str, length: usize) -> Option<usize> {
    step.parse().ok().filter(|at| *at < length)
}

fn find<'a>(target: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(target, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(index(step, items.len())?),
        _ => None,
    })
}

fn find_mut<'a>(target: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(target, |value, step| match value {
        Value::Object(fields) => fields.get_mut(step),
        Value::Array(items) => {
            let at = index(step, items.len())?;
            items.get_mut(at)
        }
        _ => None,
    })
}

fn add(target: &mut Value, path: &Pointer, value: Value) -> Result<(), String> {
    let Some((last, parents)) = path.split_last() else {
        *target = value;
        return Ok(());
    };
    match find_mut(target, parents).ok_or_else(|| missing(path))? {
        Value::Object(fields) => {
            fields.insert(last.clone(), value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(last, items.len() + 1).ok_or_else(|| missing(path))?;
            items.insert(at, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &Pointer) -> Result<Value, String> {
    let (last, parents) = path.split_last().ok_or("the root cannot be removed")?;
    let removed = match find_mut(target, parents) {
        Some(Value::Object(fields)) => fields.shift_remove(last),
        Some(Value::Array(items)) => index(last, items.len()).map(|at| items.remove(at)),
        _ => None,
    };
    removed.ok_or_else(|| missing(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(target: Value, patch: Value, result: Option<Value>) {
        let operations = parse(patch.to_string().as_bytes()).expect("a patch");
        let mut patched = target;
        let outcome = apply(&mut patched, &operations);
        match result {
            Some(result) => assert_eq!((outcome, patched), (Ok(()), result)),
            None => assert!(outcome.is_err(), "{patch}"),
        }
    }

    #[test]
    fn each_operation_does_what_the_rfc_says() {
        let target = json!({"a": {"b/c": 1}, "l": [1, 3]});
        let patch = json!([
            {"op": "test", "path": "/a/b~1c", "value": 1},
            {"op": "add", "path": "/l/1", "value": 2},
            {"op": "add", "path": "/l/-", "value": 4},
            {"op": "copy", "from": "/l/0", "path": "/first"},
            {"op": "move", "from": "/a/b~1c", "path": "/a/d"},
            {"op": "replace", "path": "/a/d", "value": {"x": null}},
            {"op": "remove", "path": "/l/0"},
        ]);
        let result = json!({"a": {"d": {"x": null}}, "l": [2, 3, 4], "first": 1});
        check(target, patch, Some(result));
    }

    #[test]
    fn what_is_not_there_cannot_be_removed_replaced_or_added_to() {
        for operation in [
            json!({"op": "remove", "path": "/none"}),
            json!({"op": "replace", "path": "/none", "value": 1}),
            json!({"op": "add", "path": "/none/x", "value": 1}),
            json!({"op": "add", "path": "/l/9", "value": 1}),
            json!({"op": "test", "path": "/l/0", "value": 2}),
            json!({"op": "move", "from": "/none", "path": "/x"}),
        ] {
            check(json!({"l": [1]}), json!([operation]), None);
        }
    }

    #[test]
    fn a_document_that_is_no_patch_is_refused() {
        for body in ["{}", "[", r#"[{"op": "shake", "path": ""}]"#, r#"[{"op": "add"}]"#] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
