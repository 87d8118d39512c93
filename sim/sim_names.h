/* sim_names.h -- other names for what the simulator has in place of the gateway's.
 *
 * exchange.c, shadow.c, attempt.c, adapter.c, answer.c and their parts (CMakeLists.txt: simulated)
 * are compiled twice: into the gateway, and with this file in front into the simulator.  There they
 * call the clients of sim_client.c, the providers of sim_upstream.c and the timers of sim_loop.c,
 * and are what they always are.  So a simulated request cannot differ from a served one in anything
 * that those decide. tools/house.lua sees to it that no call of theirs goes past this list. */
/* SPDX-License-Identifier: MIT */
#pragma once

/* What they define. */
#define adapter_adds_usage     sim_adapter_adds_usage
#define adapter_open           sim_adapter_open
#define adapter_prepare        sim_adapter_prepare
#define answer_error           sim_answer_error
#define answer_error_json      sim_answer_error_json
#define answer_json            sim_answer_json
#define attempt_age_us         sim_attempt_age_us
#define attempt_arm_timer      sim_attempt_arm_timer
#define attempt_close          sim_attempt_close
#define attempt_commit_us      sim_attempt_commit_us
#define attempt_end            sim_attempt_end
#define attempt_fail           sim_attempt_fail
#define attempt_fail_or_end    sim_attempt_fail_or_end
#define attempt_feed           sim_attempt_feed
#define attempt_finish_plain   sim_attempt_finish_plain
#define attempt_finish_stream  sim_attempt_finish_stream
#define attempt_free           sim_attempt_free
#define attempt_grant          sim_attempt_grant
#define attempt_hides_usage    sim_attempt_hides_usage
#define attempt_hold           sim_attempt_hold
#define attempt_is_stream      sim_attempt_is_stream
#define attempt_item           sim_attempt_item
#define attempt_new            sim_attempt_new
#define attempt_open_stream    sim_attempt_open_stream
#define attempt_open_us        sim_attempt_open_us
#define attempt_note_usage     sim_attempt_note_usage
#define attempt_pause          sim_attempt_pause
#define attempt_provider       sim_attempt_provider
#define attempt_resume         sim_attempt_resume
#define attempt_said_bytes     sim_attempt_said_bytes
#define attempt_shown_us       sim_attempt_shown_us
#define attempt_status         sim_attempt_status
#define attempt_stream         sim_attempt_stream
#define attempt_take_body      sim_attempt_take_body
#define attempt_take_item      sim_attempt_take_item
#define attempt_target         sim_attempt_target
#define attempt_timeouts       sim_attempt_timeouts
#define attempt_told_cost      sim_attempt_told_cost
#define attempt_transfer       sim_attempt_transfer
#define attempt_untold_bytes   sim_attempt_untold_bytes
#define attempt_usage          sim_attempt_usage
#define attempt_was_refused    sim_attempt_was_refused
#define attempt_was_sent       sim_attempt_was_sent
#define exchange_break         sim_exchange_break
#define exchange_cut_all       sim_exchange_cut_all
#define exchange_close         sim_exchange_close
#define exchange_drop          sim_exchange_drop
#define exchange_end_race      sim_exchange_end_race
#define exchange_finish        sim_exchange_finish
#define exchange_give_up       sim_exchange_give_up
#define exchange_join          sim_exchange_join
#define exchange_judge         sim_exchange_judge
#define exchange_next_racer    sim_exchange_next_racer
#define exchange_on_drained    sim_exchange_on_drained
#define exchange_on_dropped    sim_exchange_on_dropped
#define exchange_on_end        sim_exchange_on_end
#define exchange_on_event      sim_exchange_on_event
#define exchange_on_finish     sim_exchange_on_finish
#define exchange_on_flush      sim_exchange_on_flush
#define exchange_on_race       sim_exchange_on_race
#define exchange_on_send       sim_exchange_on_send
#define exchange_on_shadow     sim_exchange_on_shadow
#define exchange_resume_filter sim_exchange_resume_filter
#define exchange_set_state     sim_exchange_set_state
#define exchange_settle_plain  sim_exchange_settle_plain
#define exchange_start         sim_exchange_start
#define exchange_usage         sim_exchange_usage
#define exchange_wait          sim_exchange_wait
#define shadow_cancel          sim_shadow_cancel
#define shadow_cancel_all      sim_shadow_cancel_all
#define shadow_init            sim_shadow_init
#define shadow_start           sim_shadow_start
#define trail_add              sim_trail_add
#define trail_break            sim_trail_break
#define trail_entries          sim_trail_entries
#define trail_free             sim_trail_free

#define charge_commit      sim_charge_commit
#define charge_each_header sim_charge_each_header
#define charge_end         sim_charge_end
#define charge_fail        sim_charge_fail
#define charge_fault       sim_charge_fault

/* client.h, in sim_client.c */
#define client_each_header   sim_client_each_header
#define client_header        sim_client_header
#define client_id            sim_client_id
#define client_own           sim_client_own
#define client_reply         sim_client_reply
#define client_stream_abort  sim_client_stream_abort
#define client_stream_end    sim_client_stream_end
#define client_stream_queued sim_client_stream_queued
#define client_stream_send   sim_client_stream_send
#define client_stream_start  sim_client_stream_start
#define client_take_body     sim_client_take_body

#define fetch_free   sim_fetch_free
#define fetch_result sim_fetch_result
#define fetch_start  sim_fetch_start

/* origin.h and upstream.h, in sim_upstream.c */
#define origin_bare          sim_origin_bare
#define origin_free          sim_origin_free
#define upstream_cancel      sim_upstream_cancel
#define upstream_header      sim_upstream_header
#define upstream_next_header sim_upstream_next_header
#define upstream_pause       sim_upstream_pause
#define upstream_read        sim_upstream_read
#define upstream_release     sim_upstream_release
#define upstream_slim        sim_upstream_slim
#define upstream_start       sim_upstream_start

/* libevent's, in sim_loop.c */
#define event_active sim_event_active
#define event_add    sim_event_add
#define event_assign sim_event_assign
#define event_del    sim_event_del
