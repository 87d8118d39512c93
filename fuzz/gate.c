/* gate.c -- fuzzes the strict reader: however bytes come, the verdict is the
 * same; what passed passes again; and every head that passed is clean.
 *
 * The first byte of the input seeds the cuts. */
/* SPDX-License-Identifier: MIT */
#include "parsers/gate.h"
#include "leaves/mem.h"
#include <stdint.h>
#include <stdlib.h>

static const struct gate_limits limits = {.head = 512, .headers = 8, .uri = 64, .body = 256};

struct sum {
    size_t passed;
    unsigned heads, ends;
    int status;
    const char *code;
};

static void check(bool is_true)
{
    if (!is_true)
        abort();
}

/* Only a CRLF may be there of control bytes, and one blank line, at the end. */
static void check_head(struct slice head)
{
    check(head.len >= 4 && head.len <= limits.head);
    check(memcmp(head.ptr + head.len - 4, "\r\n\r\n", 4) == 0);
    check(memcmp(head.ptr, "GET /", 5) == 0 || memcmp(head.ptr, "POST /", 6) == 0);
    for (size_t i = 0; i < head.len; i++) {
        unsigned char c = (unsigned char)head.ptr[i];
        if (c == '\r')
            check(head.ptr[i + 1] == '\n' &&
                  (i + 4 > head.len || head.ptr[i + 2] != '\r' || i + 4 == head.len));
        else if (c == '\n')
            check(i > 0 && head.ptr[i - 1] == '\r');
        else
            check(c == '\t' || (c >= ' ' && c != 0x7f));
    }
}

/* Offers the input as a connection would: what has not passed comes again, with
 * what came after, in a block of its own so that a read beside it is seen. */
static struct sum offer(struct slice input, unsigned seed)
{
    struct gate gate = {.limits = &limits};
    struct sum sum = {0};
    size_t there = 0;

    while (there < input.len && !sum.status) {
        size_t more = seed ? 1 + (seed >> 16) % 16 : input.len;
        there = more < input.len - there ? there + more : input.len;
        seed = seed ? (seed * 1103515245 + 12345) | 1 : 0;

        size_t len = there - sum.passed;
        char *bytes = mem_resize(NULL, len);
        memcpy(bytes, input.ptr + sum.passed, len);
        enum gate_phase phase = gate.phase;
        struct gate_verdict verdict = gate_read(&gate, (struct slice){bytes, len});
        check(verdict.passed <= len && verdict.ends <= verdict.heads + 1);
        check(!verdict.status == !verdict.code && !verdict.status == !verdict.reason);
        if (phase == GATE_HEAD && verdict.heads == 1 && verdict.ends == 1 &&
            gate.phase == GATE_HEAD && memcmp(bytes, "GET", 3) == 0)
            check_head((struct slice){bytes, verdict.passed});
        mem_free(bytes);
        sum.passed += verdict.passed;
        sum.heads += verdict.heads;
        sum.ends += verdict.ends;
        sum.status = verdict.status;
        sum.code = verdict.code;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len < 1)
        return 0;
    struct slice input = {(const char *)bytes + 1, len - 1};
    struct sum whole = offer(input, 0);
    struct sum cut = offer(input, bytes[0] * 2654435761u | 1);

    check(whole.passed == cut.passed && whole.heads == cut.heads && whole.ends == cut.ends);
    check(whole.status == cut.status && whole.code == cut.code);

    struct sum again = offer((struct slice){input.ptr, whole.passed}, 0);
    check(again.passed == whole.passed && again.ends == whole.ends && again.status == 0);
    return 0;
}
