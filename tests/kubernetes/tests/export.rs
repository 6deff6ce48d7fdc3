//! A cluster's resources leave Kubernetes by `caracalctl datastore export` and come back.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use caracal_kubernetes_tests::ApiServer;
use caracal_lab::{Binaries, Netns, lab_tests, private};

/// Objects as Calico writes them, of each kind at least one; `surprise` stands for fields of versions to come.
const OBJECTS: &str = include_str!("objects.yaml");

/// `caracalctl ARGS`, about the folder `store` or, without one, about the API server.
fn caracalctl(
    netns: &Netns,
    api: &ApiServer,
    store: Option<&Path>,
    args: &[&str],
) -> Result<String> {
    let mut command = Command::new(Binaries::find()?.ctl);
    match store {
        Some(folder) => command.arg("--datastore").arg(folder),
        None => command.arg("--kubeconfig").arg(api.kubeconfig()),
    };
    let done = netns.output(command.args(args).stdin(Stdio::null()))?;
    let (said, fault) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    ensure!(done.status.success(), "{args:?}: {said}{fault}");
    Ok(said.into_owned())
}

lab_tests! {
    #[ignore = "needs a kube-apiserver: ./tests/run kubernetes"]
    fn every_kind_leaves_kubernetes_for_a_folder_and_comes_back_as_it_was() {
        let netns = Netns::create("api")?;
        let api = ApiServer::start(&netns, "127.0.0.1".parse()?)?;
        api.define_kinds()?;
        api.apply(OBJECTS)?;
        let folder = Path::new(private::FOLDER).join("store");
        fs::create_dir_all(&folder)?;
        let file = |name: &str| Path::new(private::FOLDER).join(name).display().to_string();
        let (first, second, third) = (file("1.yaml"), file("2.yaml"), file("3.yaml"));

        caracalctl(&netns, &api, None, &["datastore", "lock"])?;
        caracalctl(&netns, &api, None, &["datastore", "export", "--filename", &first])?;
        let said = caracalctl(&netns, &api, Some(&folder), &["datastore", "import", "-f", &first])?;
        ensure!(said.contains("as in the file."), "{said}");
        caracalctl(&netns, &api, Some(&folder), &["datastore", "export", "--filename", &second])?;
        let exported = fs::read_to_string(&first)?;
        for kind in ["BGPFilter", "IPAMBlock", "NetworkPolicy", "CalicoNodeStatus", "FelixConfiguration"] {
            ensure!(exported.contains(&format!("\nkind: {kind}\n")), "no {kind}: {exported}");
        }
        ensure!(exported.contains("surprise") && exported.contains("1772619072131415161"), "{exported}");
        ensure!(fs::read_to_string(&second)? == exported, "the folder has other objects than Kubernetes");

        // Somebody spoils what is there, and what was saved makes it good.
        api.kubectl(&["delete", "bgpfilters.crd.projectcalico.org", "own-blocks-only"])?;
        api.kubectl(&["delete", "ipamblocks.crd.projectcalico.org", "10-233-29-0-30"])?;
        caracalctl(&netns, &api, None, &["datastore", "import", "-f", &second, "--overwrite"])?;
        caracalctl(&netns, &api, None, &["datastore", "export", "--filename", &third])?;
        ensure!(fs::read_to_string(&third)? == exported, "Kubernetes has other objects than before");
        // Once more: nothing is left to do. What is counted: created, changed, unchanged.
        let said = caracalctl(&netns, &api, None, &["datastore", "import", "-f", &second, "--overwrite"])?;
        let counts = |line: &str| line.split_whitespace().skip(1).map(|word| word.parse().ok()).collect::<Option<Vec<usize>>>();
        let all: Vec<Vec<usize>> = said.lines().filter_map(counts).filter(|counts| counts.len() == 3).collect();
        ensure!(all.len() > 10 && all.iter().all(|counts| counts[..2] == [0, 0]), "{said}");
        caracalctl(&netns, &api, None, &["datastore", "unlock"]).map(drop)
    }
}
