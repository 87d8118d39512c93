/* answer.c -- errors in OpenAI's shape. */
/* SPDX-License-Identifier: MIT */
#include "answer.h"
#include "client.h"
#include "parsers/head.h"
#include "parsers/json.h"

static void add_member(struct buf *out, const char *name, const char *value)
{
    buf_add_format(out, ",\"%s\":", name);
    if (value)
        json_quote(out, slice_of(value));
    else
        buf_add_text(out, "null");
}

void answer_error_json(const struct answer_error *error, struct buf *out)
{
    buf_add_text(out, "{\"error\":{\"message\":");
    json_quote(out, slice_of(error->message));
    add_member(out, "type", error->type);
    add_member(out, "param", error->param);
    add_member(out, "code", error->code);
    buf_add_text(out, "}}");
}

/* SDKs would sleep through whatever retry-after says: past this, seconds, they are told not to.  A
 * limit of requests a minute, which is kept in parts of a second or so, is not past it. */
enum { PATIENCE_S = 62 };

static void reply(struct client *client, int status, struct slice json, int retry_after,
                  const char *allow)
{
    struct buf headers = {0};

    head_add(&headers, "content-type", SLICE("application/json"));
    head_add(&headers, "x-request-id", slice_of(client_id(client)));
    if (retry_after)
        buf_add_format(&headers, "retry-after: %d\r\n%s", retry_after,
                       retry_after > PATIENCE_S ? "x-should-retry: false\r\n" : "");
    if (status == 401) /* RFC 9110, 11.6.1 */
        head_add(&headers, "www-authenticate", SLICE("Bearer"));
    if (allow)
        head_add(&headers, "allow", slice_of(allow));
    client_reply(client, status, buf_slice(&headers), json);
    buf_free(&headers);
}

void answer_error(struct client *client, const struct answer_error *error)
{
    struct buf json = {0};

    answer_error_json(error, &json);
    reply(client, error->status, buf_slice(&json), error->retry_after, error->allow);
    buf_free(&json);
}

void answer_json(struct client *client, int status, struct slice json)
{
    reply(client, status, json, 0, NULL);
}
