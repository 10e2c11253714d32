//! What once answered automatic and must not: each line is a way past the evaluator.

use crate::model::{Context, Verdict};
use crate::weigh;

fn verdict(text: &str) -> Verdict {
    let context = Context::default();
    weigh::weigh(&super::script(text, &context), &context).1
}

fn asked(texts: &[&str]) {
    for text in texts {
        assert_eq!(verdict(text), Verdict::Ask, "{text}");
    }
}

fn automatic(texts: &[&str]) {
    for text in texts {
        assert_eq!(verdict(text), Verdict::Auto, "{text}");
    }
}

#[test]
fn a_line_that_begins_with_a_backslash_is_a_command_of_its_own() {
    asked(&[
        "ls -la; echo ok\n\\rm -rf /srv/data\necho done",
        "ls | wc -l\n\\rm -rf ~/x",
        "export A=1\n\\rm -rf ~/x",
        "unset A\n\\rm -rf ~/x",
        "A=1\n\\rm -rf ~/x",
        "[[ -f x ]]\n\\rm -rf ~/x",
        "echo a\n\\\nrm -rf /srv/data",
    ]);
    automatic(&["ls -la \\\n  -h src\necho done", "ls\n\\ls -la"]);
}

#[test]
fn a_variable_that_may_not_have_been_set_is_not_known() {
    asked(&[
        "false && P=echo; $P rm -rf ~",
        "if false; then P=echo; fi; $P rm -rf ~",
        "for P in echo; do false; done; unset P; if x; then P=echo; fi\n$P rm -rf ~",
        "case x in y) P=echo;; esac; $P rm -rf ~",
        "while false; do P=echo; done; $P rm -rf ~",
    ]);
    automatic(&["P=echo; $P rm -rf ~", "D=build && mkdir -p $D && rm -rf $D/tmp.log"]);
}

#[test]
fn a_function_does_not_hide_the_program_of_its_name() {
    asked(&[
        "false && rm(){ :; }; rm -rf ~",
        "(rm(){ :; }); rm -rf ~",
        "f(){ rm -rf ~; }; f(){ :; }; f",
        "unset -f rm; if x; then rm(){ :; }; fi; rm -rf ~",
    ]);
    automatic(&["greet(){ echo hi; }; greet", "ls(){ command ls -la \"$@\"; }; ls src"]);
}

#[test]
fn what_works_out_an_index_runs_what_is_in_it() {
    asked(&[
        "let 'a[$(rm -rf ~)]=1'",
        "[[ -v 'a[$(rm -rf ~)]' ]]",
        "printf -v 'a[$(rm -rf ~)]' x",
        "read 'a[`rm -rf ~`]' <<< 1",
    ]);
    automatic(&["[[ $x =~ ^[0-9]+$ ]] && echo number", "let x=1+2", "printf '[%s]\\n' ok"]);
}

#[test]
fn commands_that_run_later_count_now() {
    asked(&[
        "complete -C 'rm -rf ~' ls",
        "compgen -C 'rm -rf ~'",
        "bind -x '\"\\C-a\": rm -rf ~'",
        "hash -p /tmp/evil ls; ls",
        "!rm",
    ]);
}

#[test]
fn a_session_that_nobody_sees_is_asked() {
    asked(&["bash", "env /bin/sh", "timeout 5 python3", "/bin/sh -i 0<&1", "node"]);
    automatic(&["bash --version", "python3 --version", "bash -n x.sh", "echo ls | bash"]);
}

#[test]
fn a_harmless_word_does_not_vouch_for_a_program_nobody_knows() {
    asked(&["unknowntool list", "unknowntool get secrets", "./tool; othertool status"]);
    automatic(&["unknowntool --help", "unknowntool --version"]);
}

#[test]
fn a_list_of_everything_is_no_list() {
    asked(&[&format!("rm {}", "f ".repeat(5_000)), &format!("{}rm -rf ~", "ls;".repeat(4_000))]);
}
