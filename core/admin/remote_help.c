/* remote_help.c -- the help of the commands that ask the ledger. */
/* SPDX-License-Identifier: MIT */
#include "remote_help.h"
#include <stdbool.h>
#include <string.h>

#define WHERE                                                                                      \
    "They ask the gateway that serves ./weir.lua, whose keys = \"ledger\", over its admin "        \
    "socket;\n"                                                                                    \
    "in a folder without a weir.lua the Debian package's.  --config FILE names another "           \
    "weir.lua,\n"                                                                                  \
    "--socket PATH the socket.  --json prints JSON, with money in micro-dollars.\n"                \
    "Exit codes: 0 done, 1 no gateway answers there or it refused, 2 wrong command line.\n"

static const char accounts[] =
    "weir keys add NAME [options]     make a key, and print it this once\n"
    "weir keys list [--csv]           all of them; --team T (or none), --state active, expired or\n"
    "                                 revoked, --name BEGIN: only such; --limit 50, --after NAME:\n"
    "                                 so many, those behind that name\n"
    "weir keys show NAME              one, with what it has spent and what is left\n"
    "weir keys set NAME [options]     change what the options name, and nothing else\n"
    "weir keys rotate NAME            a new key of that name; the old one still works for "
    "--grace,\n"
    "                                 24h unless said\n"
    "weir keys revoke NAME            nobody is let in with it any more\n"
    "weir teams add, list, show, set  the same for teams, which have no key of their own\n"
    "\n"
    "  --team T               whose limits and budget it must pass as well; or none\n"
    "  --models default,fast  what it may ask for, of the names in weir.lua; or any\n"
    "  --rpm 60, --tpm 100k   requests and tokens a minute; or none\n"
    "  --concurrent 8         requests at once; or none\n"
    "  --budget 50usd/month   or day, week, or 50usd for good; or none\n"
    "  --soft 80%             a share of the budget, past which people are told; or none\n"
    "  --expires 90d          or a day, 2027-01-31; or never\n"
    "  --store 30d            how long prompts and answers are stored, where weir.lua allows it\n"
    "  --label env=prod       for policies; several times, all of them anew; or none\n"
    "\n"
    "  weir keys add alice --team search --models default,fast --budget 50usd/month --soft 80%\n"
    "  weir keys set bob --team ads --rpm none\n"
    "  weir keys rotate alice --grace 0s    it leaked: the old one ends now\n"
    "\n"
    "A change is in force in every worker when the command returns.\n" WHERE;

static const char usage[] =
    "weir usage     what was used and spent, the dearest first\n"
    "  --by key,team,model,target,day    one or more of these; else key, of one key model\n"
    "  --key K, --team T, --model M, --target T    only such; a team may be none\n"
    "  --since 30d, --until T            from when on, up to when\n"
    "  --csv\n"
    "weir requests  the latest requests\n"
    "  --key K, --team T, --model M, --target T, --status N, --code C    only such\n"
    "  --slower 10s                      that took so long or longer\n"
    "  --since 7d, --until T\n"
    "  --limit 50, --before NEXT         so many; the page after the one that said NEXT\n"
    "  --csv\n"
    "weir requests ID          one, with its attempts\n"
    "weir requests ID --texts  the prompt and the answer, where its key stores them\n"
    "\n"
    "Times are so long ago (30m, 12h, 7d), the beginning of a day (today, yesterday, 2026-11-20)\n"
    "or a moment (14:03, 2026-11-20T14:03); what --until names is not within.\n"
    "\n"
    "  weir usage --by key,model --since yesterday --until today\n"
    "  weir requests --key bob --since 14:00 --until 14:10\n"
    "\n" WHERE;

const char *remote_help(const char *command)
{
    bool is_accounts = strcmp(command, "keys") == 0 || strcmp(command, "teams") == 0;

    return is_accounts ? accounts : usage;
}
