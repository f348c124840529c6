//! Command lines as hooks hold them: quoting a path, and telling ours from others'.

/// The name of the program, as PATH knows it.
pub(super) const PROGRAM: &str = "cotenant";

/// Quotes a word for `/bin/sh`, or returns it as it is when nothing in it is special.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    // Inside single quotes nothing is special but the quote itself, which has to leave them.
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Tells whether a hook's command line runs `cotenant hook`, under whatever path.
pub(super) fn is_our_hook(command: &str) -> bool {
    let mut words = Words { rest: command.chars().peekable() };
    words.next().is_some_and(|program| is_our_program(&program))
        && words.next().is_some_and(|word| word == "hook")
}

/// Tells whether a program's path ends in our name.
pub(super) fn is_our_program(program: &str) -> bool {
    let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
    name.strip_suffix(".exe").unwrap_or(name) == PROGRAM
}

/// The words of a command line, as the shell splits them; knows quotes and backslashes only.
struct Words<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        self.rest.peek()?;
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = self.rest.next_if(|c| quote.is_some() || !c.is_whitespace()) {
            match (quote, c) {
                (Some(open), _) if c == open => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, '\\') => word.extend(self.rest.next()),
                (Some('"'), '\\') => {
                    // Between double quotes a backslash is itself, unless it hides one of these.
                    let hidden = self.rest.next_if(|next| matches!(next, '"' | '\\' | '$' | '`'));
                    word.push(hidden.unwrap_or('\\'));
                }
                _ => word.push(c),
            }
        }
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_not_quoted() {
        assert_eq!(quote("/usr/local/bin/cotenant"), "/usr/local/bin/cotenant");
    }

    #[test]
    fn spaces_and_quotes_are_quoted() {
        assert_eq!(quote("/home/o'neil/my bin/cotenant"), r"'/home/o'\''neil/my bin/cotenant'");
        assert_eq!(quote("$HOME/cotenant"), "'$HOME/cotenant'");
        assert_eq!(quote(""), "''");
    }

    #[cfg(unix)]
    #[test]
    fn the_shell_reads_back_what_was_quoted() {
        for path in [
            "/a b/cotenant",
            "/it's/cotenant",
            "/\"x\"/$y/`z`/cotenant",
            "/a\\b/cotenant",
            "/ü/cotenant",
        ] {
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", &format!("printf %s {}", quote(path))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
            assert!(is_our_hook(&format!("{} hook Stop", quote(path))), "{path}");
        }
    }

    #[test]
    fn our_hooks_are_known_by_program_and_first_argument() {
        for ours in [
            "cotenant hook Stop",
            "  /opt/bin/cotenant   hook",
            "'/a b/cotenant' hook Stop",
            "\"/a b/cotenant\" hook Stop",
            r"/a\ b/cotenant hook Stop",
            r"'C:\bin\cotenant.exe' hook Stop",
        ] {
            assert!(is_our_hook(ours), "{ours}");
        }
    }

    #[test]
    fn hooks_of_others_are_not_ours() {
        for foreign in [
            "",
            "cotenant",
            "cotenant status",
            "cotenant hooks",
            "my-cotenant hook Stop",
            "cotenant.sh hook Stop",
            "echo cotenant hook Stop",
            "cotenant/run hook Stop",
            "'cotenant hook' Stop",
        ] {
            assert!(!is_our_hook(foreign), "{foreign}");
        }
    }
}
