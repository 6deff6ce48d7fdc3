//! `routes --to` and `routes --from`: what policies make of paths, and why.

use caracal_agent_api::{Explain, Explained};
use ipnet::IpNet;

use crate::cli::RoutesArgs;
use crate::failure::{Failure, Sort};
use crate::table::{Table, or_dash};

/// Where to ask, and what.
pub(crate) fn question(args: &RoutesArgs) -> Result<(&'static str, Explain), Failure> {
    let (path, peer) = match (args.to, args.from) {
        (Some(to), _) => ("/v1/explain/export", to),
        (None, Some(from)) => ("/v1/explain/import", from),
        (None, None) => return Err(Failure::new(Sort::Usage, "--to or --from is missing")),
    };
    let prefix = args.prefix.as_ref().map(|text| {
        let prefix: Result<IpNet, _> = text.parse();
        prefix.map_err(|_| Failure::new(Sort::Usage, format!("{text} is no prefix")))
    });
    let policy = args.policy.as_ref().map(|file| {
        let bad = |why: String| Failure::new(Sort::Failed, format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
        serde_saphyr::from_str(&text).map_err(|error| bad(error.to_string()))
    });
    let question = Explain {
        peer,
        prefix: prefix.transpose()?.map(|prefix| prefix.trunc()),
        policy: policy.transpose()?,
    };
    Ok((path, question))
}

/// For people: one line a path, with the attributes that go on, or that are held back.
pub(crate) fn table(answer: &Vec<Explained>, wide: bool) -> String {
    if answer.is_empty() {
        return "No routes.\n".to_owned();
    }
    let mut heading = vec!["", "PREFIX", "FROM", "NEXT HOP", "PREF", "MED", "AS PATH"];
    if wide {
        heading.push("COMMUNITIES");
    }
    heading.push("WHY");
    let mut table = Table::new(heading);
    for path in answer {
        let attributes = path.after.as_ref().unwrap_or(&path.before);
        let mut cells = vec![
            if path.accepted { "+" } else { "-" }.to_owned(),
            path.prefix.to_string(),
            path.from
                .map_or_else(|| "local".to_owned(), |peer| peer.to_string()),
            or_dash(attributes.next_hop),
            or_dash(attributes.local_pref),
            or_dash(attributes.med),
            attributes.as_path.clone(),
        ];
        if wide {
            cells.push(attributes.communities.join(" "));
        }
        cells.push(path.reason.clone());
        table.row(cells);
    }
    table.columns()
}

#[cfg(test)]
mod tests;
