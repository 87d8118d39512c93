/* remote_list.c -- one request a page: head of the first, rows of all.
 *
 * The clerk makes a page in one go, and has time for others between two of them. */
/* SPDX-License-Identifier: MIT */
#include "remote_list.h"
#include "leaves/exit_code.h"
#include "parsers/json.h"
#include <stdio.h>

enum { PAGE = 1000 };

struct list {
    enum remote_form form;
    int pages; /* printed */
};

static void print(struct slice text)
{
    fwrite(text.ptr, 1, text.len, stdout);
}

static struct slice without_first_line(struct slice text)
{
    const char *end = memchr(text.ptr, '\n', text.len);
    size_t len = end ? (size_t)(end + 1 - text.ptr) : text.len;

    return (struct slice){text.ptr + len, text.len - len};
}

/* It says how to ask for more. */
static struct slice without_last_line(struct slice text)
{
    if (text.len)
        text.len--;
    while (text.len && text.ptr[text.len - 1] != '\n')
        text.len--;
    return text;
}

/* The list in {"keys":[…],"next":"…"}: of the first page from its name on, of all without its end.
 */
static void print_json(const struct list *list, struct slice body)
{
    struct json json = json_init(body);
    struct slice name, rows;

    json_open_object(&json);
    while (json_next_member(&json, &name)) {
        if (json_peek(&json) != JSON_ARRAY)
            continue;
        rows = json_skip(&json);
        if (list->pages == 0)
            printf("{\"%.*s\":[", (int)name.len, name.ptr);
        else if (rows.len > 2)
            putchar(',');
        print((struct slice){rows.ptr + 1, rows.len - 2});
    }
}

static void print_page(struct list *list, struct slice body, bool has_more)
{
    if (list->form == REMOTE_JSON) {
        print_json(list, body);
    } else {
        if (list->pages > 0)
            body = without_first_line(body);
        if (has_more && list->form == REMOTE_LINES)
            body = without_last_line(body);
        print(body);
    }
    list->pages++;
}

/* The answer's status; 0: nobody answered. */
static int ask(struct remote *remote, const char *path, const char *after, struct buf *said)
{
    struct buf request = {0};

    buf_add_format(&request, "%s%climit=%d", path, strchr(path, '?') ? '&' : '?', PAGE);
    if (after && *after) {
        buf_add_text(&request, "&after=");
        remote_escape(&request, after);
    }
    buf_add_char(&request, '\0');
    int status = remote_ask(remote, request.ptr, (struct slice){"", 0}, said);
    buf_free(&request);
    return status;
}

int remote_list(struct remote *remote, const char *path, const char *after, enum remote_form form)
{
    struct list list = {.form = form};
    struct buf said = {0};
    char begin[sizeof remote->next];
    int status;

    snprintf(begin, sizeof begin, "%s", after ? after : "");
    do {
        buf_clear(&said);
        status = ask(remote, path, begin, &said);
        if (status == 200)
            print_page(&list, buf_slice(&said), remote->next[0] != '\0');
        memcpy(begin, remote->next, sizeof begin);
    } while (status == 200 && begin[0]);
    if (status == 200 && form == REMOTE_JSON)
        fputs("]}\n", stdout);
    fflush(stdout); /* before what is said of its end */
    if (!status)
        remote_say_nobody(remote);
    else if (status != 200)
        fprintf(stderr, "weir: %.*s", (int)said.len, buf_slice(&said).ptr);
    buf_free(&said);
    return remote_exit(status);
}
