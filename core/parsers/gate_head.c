/* gate_head.c -- what the lines of a head may say, and what they tell of the body. */
/* SPDX-License-Identifier: MIT */
#include "gate_own.h"
#include <strings.h>

REFUSAL(bad_request_line, 400, "The request line is not method, target and version.");
REFUSAL(bad_method, 400, "The request's method is not a token.");
REFUSAL(bad_target, 400, "The request's target is not a path of visible ASCII characters.");
REFUSAL(bad_version, 400, "The request's HTTP version is malformed.");
REFUSAL(obs_fold, 400, "A header line begins with a space or a tab.");
REFUSAL(space_before_colon, 400, "There is a space between a header's name and its colon.");
REFUSAL(bad_header, 400, "A header line does not begin with a name and a colon.");
REFUSAL(tab_before_value, 400, "A tab stands before the value of a header that is read here.");
REFUSAL(no_host, 400, "The request has no Host header.");
REFUSAL(bad_host, 400, "The Host header is not a host and a port.");
REFUSAL(duplicate_header, 400, "A header that may come only once comes twice.");
REFUSAL(bad_length, 400, "The Content-Length header is not a plain decimal number.");
REFUSAL(bad_encoding, 400, "The Transfer-Encoding header does not end with chunked.");
REFUSAL(old_encoding, 400, "A request of HTTP/1.0 has a Transfer-Encoding header.");
REFUSAL(two_lengths, 400, "The request has both Content-Length and Transfer-Encoding.");
REFUSAL(get_body, 400, "A GET request has a body.");
REFUSAL(method_head, 405, "The method HEAD is not served here.");
REFUSAL(method_not_allowed, 405, "Only the methods GET and POST are served here.");
REFUSAL(length_required, 411, "A POST request needs Content-Length or chunked encoding.");
REFUSAL(uri_too_long, 414, "The request's target is longer than this gateway accepts.");
REFUSAL(bad_expect, 417, "The only expectation that can be met is 100-continue.");
REFUSAL(head_too_large, 431, "The request's headers are larger than this gateway accepts.");
REFUSAL(too_many_headers, 431, "The request has more headers than this gateway accepts.");
REFUSAL(unknown_method, 501, "The request's method is not known here.");
REFUSAL(unknown_encoding, 501, "The only transfer coding known here is chunked.");
REFUSAL(unknown_version, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");

/* ---- the request line ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 9110, 5.6.2. */
static bool is_token_char(char c)
{
    static const bool token[256] = {
        ['!'] = true,         ['#' ... '\''] = true, ['*'] = true,         ['+'] = true,
        ['-'] = true,         ['.'] = true,          ['0' ... '9'] = true, ['A' ... 'Z'] = true,
        ['^' ... 'z'] = true, ['|'] = true,          ['~'] = true,
    };

    return token[(unsigned char)c];
}

/* Bytes at the front that can be in a token. */
static size_t token_len(struct slice text)
{
    size_t len = 0;

    while (len < text.len && is_token_char(text.ptr[len]))
        len++;
    return len;
}

static const struct gate_refusal *check_version(struct gate *gate, struct slice version)
{
    if (version.len != 8 || memcmp(version.ptr, "HTTP/", 5) != 0 || !is_digit(version.ptr[5]) ||
        version.ptr[6] != '.' || !is_digit(version.ptr[7]))
        return &bad_version;
    if (version.ptr[5] != '1' || version.ptr[7] > '1')
        return &unknown_version;
    if (version.ptr[7] == '0')
        gate->facts |= FACT_HTTP_1_0;
    return NULL;
}

static const struct gate_refusal *check_method(struct gate *gate, struct slice method)
{
    static const char *const others[] = {"OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"};

    if (slice_is(method, "POST"))
        gate->facts |= FACT_POST;
    if (slice_is(method, "POST") || slice_is(method, "GET"))
        return NULL;
    if (slice_is(method, "HEAD"))
        return &method_head;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (slice_is(method, others[i]))
            return &method_not_allowed;
    return method.len && token_len(method) == method.len ? &unknown_method : &bad_method;
}

/* Origin-form only: to a proxy's absolute-form or an asterisk nothing here answers.
 * What begins with "//" is a path to the grammar and an authority to evhttp. */
static const struct gate_refusal *check_target(struct gate *gate, struct slice target)
{
    if (target.len > gate->limits->uri)
        return &uri_too_long;
    if (target.len == 0 || target.ptr[0] != '/' || (target.len > 1 && target.ptr[1] == '/'))
        return &bad_target;
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] <= ' ' || target.ptr[i] >= 0x7f)
            return &bad_target;
    return NULL;
}

/* RFC 9112, 3: method SP request-target SP HTTP-version.  The version is judged
 * first: of the HTTP/2 preface "PRI * HTTP/2.0" it is what the client must learn. */
static const struct gate_refusal *check_request(struct gate *gate, struct slice line)
{
    const char *first = memchr(line.ptr, ' ', line.len);
    if (!first)
        return &bad_request_line;
    const char *end = line.ptr + line.len;
    const char *second = memchr(first + 1, ' ', (size_t)(end - first - 1));
    if (!second)
        return &bad_request_line;

    const struct gate_refusal *refusal =
        check_version(gate, (struct slice){second + 1, (size_t)(end - second - 1)});
    if (!refusal)
        refusal = check_method(gate, (struct slice){line.ptr, (size_t)(first - line.ptr)});
    if (!refusal)
        refusal = check_target(gate, (struct slice){first + 1, (size_t)(second - first - 1)});
    return refusal;
}

/* ---- header lines ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_word(struct slice text, const char *word, size_t len)
{
    return text.len == len && strncasecmp(text.ptr, word, len) == 0;
}

/* RFC 9110, 7.2 and 4.2.1: a host that is not empty, maybe a port. */
static const struct gate_refusal *check_host(struct gate *gate, struct slice value)
{
    bool is_literal = value.len && value.ptr[0] == '['; /* IPv6 */
    size_t at = 0;

    while (at < value.len && (is_literal ? value.ptr[at] != ']' : value.ptr[at] != ':')) {
        char c = value.ptr[at];
        bool is_fine = is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                       (c && strchr(is_literal ? "[:.%-_~" : ".%-_~", c));
        if (!is_fine)
            return &bad_host;
        at++;
    }
    if (is_literal && at++ == value.len)
        return &bad_host;
    if (at == 0 || (at < value.len && value.ptr[at++] != ':'))
        return &bad_host;
    while (at < value.len)
        if (!is_digit(value.ptr[at++]))
            return &bad_host;
    return NULL;
}

/* Digits only.  "05" is a number to the grammar, but no client says it, and who
 * takes it for octal frames another body. */
static const struct gate_refusal *check_length(struct gate *gate, struct slice value)
{
    uint64_t length = 0;

    if (value.len == 0 || (value.len > 1 && value.ptr[0] == '0'))
        return &bad_length;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.ptr[i]))
            return &bad_length;
        uint64_t digit = (uint64_t)(value.ptr[i] - '0');
        length = length > (UINT64_MAX - digit) / 10 ? UINT64_MAX : length * 10 + digit;
    }
    gate->left = length; /* read_head holds it against the limit */
    return NULL;
}

/* RFC 9112, 6.1 and 6.3: with another last coding than "chunked" the body has no
 * known end; with another one before it the body has, but we cannot decode it. */
static const struct gate_refusal *check_encoding(struct gate *gate, struct slice value)
{
    size_t codings = value.len > 7 ? value.len - 7 : 0; /* bytes before the last 7 */
    struct slice last = {value.ptr + codings, value.len - codings};

    if (!is_word(last, "chunked", 7))
        return &bad_encoding;
    if (codings == 0)
        return NULL;
    bool is_list = strchr(", \t", value.ptr[codings - 1]) && memchr(value.ptr, ',', codings);
    bool is_twice = token_len(value) == 7 && is_word((struct slice){value.ptr, 7}, "chunked", 7);
    return is_list && !is_twice ? &unknown_encoding : &bad_encoding;
}

static const struct gate_refusal *note_key(struct gate *gate, struct slice value)
{
    gate->key_at = (size_t)(value.ptr - gate->base);
    gate->key_len = value.len;
    return NULL;
}

static const struct gate_refusal *check_expect(struct gate *gate, struct slice value)
{
    gate->facts |= FACT_EXPECT;
    return is_word(value, "100-continue", 12) ? NULL : &bad_expect;
}

/* Headers that frame the message or that two readers could take differently.  A
 * tab before their value is white space to the grammar and a part of it to evhttp. */
static const struct gate_refusal *check_known(struct gate *gate, struct slice name,
                                              struct slice value, bool has_tab)
{
    static const struct {
        struct slice name;
        unsigned fact; /* 0: may come more than once */
        const struct gate_refusal *(*check)(struct gate *gate, struct slice value);
    } known[] = {
        {{"host", 4}, FACT_HOST, check_host},
        {{"expect", 6}, 0, check_expect},
        {{"content-type", 12}, FACT_TYPE, NULL},
        {{"authorization", 13}, FACT_AUTHORIZATION, note_key},
        {{"content-length", 14}, FACT_LENGTH, check_length},
        {{"transfer-encoding", 17}, FACT_CHUNKED, check_encoding},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!is_word(name, known[i].name.ptr, known[i].name.len))
            continue;
        if (gate->facts & known[i].fact)
            return &duplicate_header;
        if (has_tab)
            return &tab_before_value;
        gate->facts |= known[i].fact;
        return known[i].check ? known[i].check(gate, value) : NULL;
    }
    return NULL;
}

/* RFC 9112, 5: field-name ":" OWS field-value OWS.  That the value has no
 * control bytes is known. */
static const struct gate_refusal *check_header(struct gate *gate, struct slice line)
{
    bool has_tab = false;

    if (is_blank(line.ptr[0]))
        return &obs_fold;
    struct slice name = {line.ptr, token_len(line)};
    if (name.len < line.len && is_blank(line.ptr[name.len]))
        return &space_before_colon;
    if (name.len == 0 || name.len == line.len || line.ptr[name.len] != ':')
        return &bad_header;

    struct slice value = {line.ptr + name.len + 1, line.len - name.len - 1};
    while (value.len && is_blank(*value.ptr)) {
        has_tab |= *value.ptr == '\t';
        value.ptr++;
        value.len--;
    }
    while (value.len && is_blank(value.ptr[value.len - 1]))
        value.len--;
    return check_known(gate, name, value, has_tab);
}

/* ---- the whole head ---- */

const struct gate_refusal *gate_over_limit(const struct gate *gate)
{
    return gate->step == STEP_REQUEST ? &uri_too_long : &head_too_large;
}

const struct gate_refusal *gate_check_line(struct gate *gate, struct slice line)
{
    if (gate->step == STEP_REQUEST) {
        gate->step = STEP_HEADERS;
        return check_request(gate, line);
    }
    if (++gate->headers > gate->limits->headers)
        return &too_many_headers;
    return check_header(gate, line);
}

const struct gate_refusal *gate_check_head(const struct gate *gate)
{
    unsigned facts = gate->facts;

    if (!(facts & (FACT_HOST | FACT_HTTP_1_0)))
        return &no_host;
    if ((facts & FACT_CHUNKED) && (facts & FACT_LENGTH))
        return &two_lengths;
    if ((facts & FACT_CHUNKED) && (facts & FACT_HTTP_1_0))
        return &old_encoding;
    if (!(facts & FACT_POST) && ((facts & FACT_CHUNKED) || gate->left))
        return &get_body;
    if ((facts & FACT_POST) && !(facts & (FACT_CHUNKED | FACT_LENGTH)) && !gate->limits->bare_posts)
        return &length_required;
    return NULL;
}
