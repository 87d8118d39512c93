/* texts.h -- where the texts of a plain answer, or of a stream's message, stand: what each choice
 * says, thinks and hands to tools.
 *
 * One walk with json.h over a ChatCompletion or a Completion
 * (https://platform.openai.com/docs/api-reference/chat/object), no tree. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "chunk.h"
#include "leaves/slice.h"

struct text_place {
    enum chunk_kind kind; /* CHUNK_CONTENT, CHUNK_REASONING, CHUNK_TOOL_CALL */
    int index;            /* of the choice */
    struct slice inside;  /* between the string's quotes, as written */
    bool is_name;         /* it is the name of a tool's function, not its arguments */
};

typedef void texts_visit(void *arg, const struct text_place *place);

/* Calls visit for each text, front to back.  answer must be JSON that was checked. */
void texts_each(struct slice answer, texts_visit *visit, void *arg);

/* The same of one message of a stream; names of functions are visited, too. */
void texts_each_delta(struct slice message, texts_visit *visit, void *arg);
