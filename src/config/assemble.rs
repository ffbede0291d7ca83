//! Makes a [`Config`] of the file's keys: what is required is there, names are unique, connection strings are
//! understood, values fit together.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::examination::Examination;
use super::expand::Env;
use super::file::{Keys, PoolKeys, RootKeys, TargetKeys};
use super::mapping::Sets;
use super::names::{Name, Service, Url};
use super::problems::{Problem, Problems};
use super::read::{At, Read, Reader};
use super::{Config, Fleet, flags, overrides, pool, rules, tree};
use crate::target::pool::{Listen, Pool};
use crate::target::{PasswordSource, Secret, Source, Target, TargetName, Tuning, conninfo};

pub fn from_text(origin: &str, text: &str, folder: &Path, env: Env<'_>) -> Result<Examination, Problems> {
    let (root, wrong) = tree::parse(text);
    let mut reader = Reader::new(origin, env).in_folder(folder);
    for wrong in wrong {
        reader.wrong_yaml(wrong);
    }
    let document = match &root {
        Some(node) if !node.is_null() => RootKeys::read(&At::root(node), &mut reader),
        _ if reader.problems.is_empty() => {
            return Err(Problems::whole(origin, "is empty: name at least one target under `targets`"));
        }
        _ => None,
    };
    let Some(document) = document else {
        return Err(Problems::new(reader.problems));
    };
    let mut assembler = Assembler::new(reader, &document);
    let items = document.targets.iter().flat_map(|items| items.0.iter().enumerate());
    for (i, keys) in items.filter_map(|(i, item)| Some((i, item.as_ref()?))) {
        assembler.target(&format!("targets[{i}]"), keys);
    }
    let spoken_of = assembler.reader.problems.iter().any(|p| p.path.starts_with("targets"));
    if assembler.targets.is_empty() && !spoken_of {
        assembler.error("targets", "names no target: write at least one, `- name: …` with its `url: …`");
    }
    Ok(assembler.finish(&document))
}

/// `keys` and `pool` are what the flags say.
pub fn from_url(origin: &str, name: &str, url: &str, keys: Keys, pool: Option<PoolKeys>) -> Examination {
    let keys = TargetKeys {
        keys,
        name: TargetName::new(name).map(Name),
        url: Some(Url::Whole(Secret::new(url.trim()))),
        pool,
        ..TargetKeys::default()
    };
    let document = RootKeys::default();
    let reader = Reader::new(origin, &|_| None);
    let mut assembler = Assembler::new(reader, &document);
    assembler.target("", &keys);
    let found = [&mut assembler.reader.problems, &mut assembler.warnings];
    found.into_iter().flatten().for_each(flags::named_as_flag);
    assembler.finish(&document)
}

struct Assembler<'a> {
    reader: Reader<'a>,
    service: String,
    defaults: Keys,
    /// What a target without keys of its own gets.
    tuning: Tuning,
    /// Where each name was first used.
    names: HashMap<TargetName, String>,
    /// Where pools listen, and whose they are.
    listening: Vec<(Listen, String)>,
    targets: Vec<Arc<Target>>,
    /// Of each of them.
    paths: Vec<String>,
    warnings: Vec<Problem>,
}

impl<'a> Assembler<'a> {
    fn new(reader: Reader<'a>, document: &RootKeys) -> Self {
        let service = document.service.as_ref().map_or(Service::DEFAULT, |s| &s.0);
        let defaults = document.defaults.clone().unwrap_or_default();
        let mut tuning = Tuning::default();
        defaults.tuning.set(&mut tuning);
        let mut assembler = Assembler {
            reader,
            service: service.to_owned(),
            defaults,
            tuning,
            names: HashMap::new(),
            listening: Vec::new(),
            targets: Vec::new(),
            paths: Vec::new(),
            warnings: Vec::new(),
        };
        for (key, message) in rules::contradictions(&assembler.defaults.tuning, &assembler.tuning) {
            assembler.error(&tree::join("defaults", key), message);
        }
        if let Some((key, message)) = rules::two_passwords(&assembler.defaults) {
            assembler.error(&tree::join("defaults", key), message);
        }
        assembler
    }

    fn finish(self, document: &RootKeys) -> Examination {
        let mut fleet = Fleet::default();
        document.fleet.iter().for_each(|keys| keys.set(&mut fleet));
        let Assembler { reader: Reader { places, problems, .. }, service, targets, paths, warnings, .. } =
            self;
        let config = Config { service, fleet, targets, warnings, file_with_password: None };
        Examination { config, problems, places, paths }
    }

    fn error(&mut self, path: &str, message: impl Into<String>) {
        let problem = self.reader.places.at_path(path, message);
        self.reader.problems.push(problem);
    }

    /// What follows from a value that was refused is no mistake of its own.
    fn error_unless_told(&mut self, path: &str, message: String) {
        if !self.reader.problems.iter().any(|problem| problem.path.starts_with(path)) {
            self.error(path, message);
        }
    }

    fn warn(&mut self, path: &str, message: impl Into<String>) {
        let problem = self.reader.places.at_path(path, message);
        self.warnings.push(problem);
    }

    fn target(&mut self, path: &str, keys: &TargetKeys) {
        let name = self.name(path, keys);
        let source = self.source(path, keys);
        let mut tuning = self.tuning.clone();
        let own = &keys.keys.tuning;
        own.set(&mut tuning);
        for (key, message) in rules::contradictions(own, &tuning) {
            self.error(&tree::join(path, key), message);
        }
        let password = self.password(path, keys, source.as_ref());
        let pool = keys.pool.as_ref().and_then(|keys| self.pool(path, keys, &tuning));
        if let (Some(pool), Some(source)) = (&pool, &source)
            && let Some((key, message)) = pool::unproven(pool, source, &password)
        {
            self.error_unless_told(&tree::join(path, key), message);
        }
        let (Some(name), Some(source)) = (name, source) else {
            return;
        };
        let target = Target {
            name,
            password,
            source,
            service: self.service.clone(),
            own_timings: overrides::own_timings(own),
            pool: pool.map(Arc::new),
            idle_policy_unset: own.idle_policy.is_none() && self.defaults.tuning.idle_policy.is_none(),
            tuning: Arc::new(tuning),
        };
        for (key, message) in rules::advice(own, &target) {
            self.warn(&tree::join(path, key), message);
        }
        self.targets.push(Arc::new(target));
        self.paths.push(path.to_owned());
    }

    fn pool(&mut self, path: &str, keys: &PoolKeys, tuning: &Tuning) -> Option<Pool> {
        let mut pool = Pool::with_defaults(pool::nowhere(), tuning.idle_policy);
        keys.set(&mut pool);
        for (key, message) in pool::contradictions(keys, &pool) {
            self.error_unless_told(&tree::join(path, key), message);
        }
        let at = tree::join(path, "pool.listen");
        if keys.listen.is_none() {
            if !self.reader.places.names(&at) {
                let message = "does not say where to listen: write `listen: 127.0.0.1:6432`";
                self.error(&tree::join(path, "pool"), message);
            }
            return None;
        }
        match self.listening.iter().find(|(taken, _)| pool::collide(taken, &pool.listen)) {
            Some((taken, whose)) => {
                let message =
                    format!("{whose}.pool listens on {taken} already: each pool needs a place of its own");
                self.error(&at, message);
            }
            None => self.listening.push((pool.listen.clone(), path.to_owned())),
        }
        for (key, message) in pool::exposure(&pool) {
            self.error_unless_told(&tree::join(path, key), message);
        }
        for (key, message) in pool::advice(&pool, tuning.idle_policy) {
            self.warn(&tree::join(path, key), message);
        }
        Some(pool)
    }

    fn name(&mut self, path: &str, keys: &TargetKeys) -> Option<TargetName> {
        let at = tree::join(path, "name");
        let Some(name) = keys.name.as_ref().map(|name| &name.0) else {
            // A name that was refused has its problem already.
            if !self.reader.places.names(&at) {
                self.error(path, "has no name: write `name: …`");
            }
            return None;
        };
        if let Some(first) = self.names.get(name) {
            let message = format!("\"{name}\" is already the name of {first}: names must differ");
            self.error(&at, message);
            return None;
        }
        self.names.insert(name.clone(), path.to_owned());
        Some(name.clone())
    }

    fn source(&mut self, path: &str, keys: &TargetKeys) -> Option<Source> {
        let (url, file) = (tree::join(path, "url"), tree::join(path, "url_file"));
        match (&keys.url, &keys.url_file) {
            (Some(_), Some(_)) => {
                self.error(&file, "url is there too: take one of them");
                None
            }
            (None, Some(file)) => Some(Source::File(file.0.clone())),
            (None, None) => {
                if !self.reader.places.names(&url) && !self.reader.places.names(&file) {
                    self.error(path, "does not say where to connect: write `url: …` or `url_file: …`");
                }
                None
            }
            (Some(text), None) => self.endpoint(if path.is_empty() { "" } else { &url }, text),
        }
    }

    /// A target's own key beats that of `defaults`, whichever of the two it is.
    fn password(&mut self, path: &str, keys: &TargetKeys, source: Option<&Source>) -> PasswordSource {
        if let Some((key, message)) = rules::two_passwords(&keys.keys) {
            self.error(&tree::join(path, key), message);
        }
        let own = rules::password_source(&keys.keys);
        let password = own.or_else(|| rules::password_source(&self.defaults)).unwrap_or_default();
        let in_url = matches!(source, Some(Source::Inline(endpoint)) if endpoint.password.is_some());
        if in_url && password.is_command() {
            self.error(&tree::join(path, "url"), rules::PASSWORD_AND_COMMAND);
        }
        password
    }

    fn endpoint(&mut self, path: &str, url: &Url) -> Option<Source> {
        let text = match url {
            // It was a text in the file, or an argument: always UTF-8.
            Url::Whole(secret) => std::str::from_utf8(secret.expose()).unwrap_or_default(),
            Url::Described(_) => "",
        };
        match conninfo::parse(text) {
            Ok(parsed) => {
                for note in parsed.notes {
                    self.warn(path, note.message);
                }
                Some(Source::Inline(Arc::new(parsed.endpoint)))
            }
            Err(problems) => {
                for problem in problems {
                    self.error(path, problem.message);
                }
                None
            }
        }
    }
}
