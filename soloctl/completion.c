/* completion: what a shell is told once. Each script passes the words on to `soloctl complete`,
 * which prints a candidate per line, or ":files" where a file is meant. */
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/session.h"

static const char bash[] =
    "# bash completion of soloctl, made by `soloctl completion bash`\n"
    "_soloctl() {\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]/#\\~/$HOME} line\n"
    "    [ \"$current\" != = ] || current=\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        if [ \"$line\" = :files ]; then\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            while IFS= read -r line; do\n"
    "                COMPREPLY+=(\"$line\")\n"
    "            done < <(compgen -f -- \"$current\")\n"
    "        else\n"
    "            COMPREPLY+=(\"$line\")\n"
    "        fi\n"
    "    done < <(\"$program\" complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _soloctl soloctl\n";

static const char zsh[] =
    "#compdef soloctl\n"
    "# zsh completion of soloctl, made by `soloctl completion zsh`\n"
    "_soloctl() {\n"
    "    local -a found\n"
    "    found=(\"${(@f)$(${words[1]/#\\~/$HOME} complete -- \"${(@)words[2,CURRENT]}\" "
    "2>/dev/null)}\")\n"
    "    if [[ ${found[1]} == :files ]]; then\n"
    "        _files\n"
    "    else\n"
    "        compadd -- ${found:#}\n"
    "    fi\n"
    "}\n"
    "if [[ ${funcstack[1]} == _soloctl ]]; then\n"
    "    _soloctl\n"
    "else\n"
    "    compdef _soloctl soloctl\n"
    "fi\n";

static const char fish[] =
    "# fish completion of soloctl, made by `soloctl completion fish`\n"
    "function __soloctl_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l last (commandline -ct)\n"
    "    set -l found ($words[1] complete -- $words[2..-1] \"$last\" 2>/dev/null)\n"
    "    if test \"$found[1]\" = :files\n"
    "        __fish_complete_path \"$last\"\n"
    "    else\n"
    "        printf '%s\\n' $found\n"
    "    end\n"
    "end\n"
    "complete -c soloctl -f -a '(__soloctl_complete)'\n";

int command_completion(struct session *session, const struct arguments *arguments)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
    int refused = session_expect_text(session);
    if (refused != 0)
        return refused;
    for (size_t i = 0; i < COUNT_OF(scripts); i++)
        if (strcmp(arguments->operands[0], scripts[i].shell) == 0) {
            printf("%s", scripts[i].script);
            return 0;
        }
    struct problem problem = { 0 };
    problem_set(&problem, STATUS_USAGE, "", "there are scripts for bash, zsh and fish");
    return session_fail(session, arguments->operands[0], STATUS_USAGE, &problem);
}
