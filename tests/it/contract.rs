//! The tests of each suite of the driver contract, by name. Adding a test to a suite is a function there and a
//! line here: every driver that has the suite runs it.

/// Hands the names of a suite's tests to the `conforms!` of a driver, behind what else that takes.
macro_rules! contract {
    // Of `conformance`: what holds for every command, in a sandbox too.
    (commands: $($with:tt)*) => {
        conforms! { $($with)*
            exit_codes_are_reported
            signals_are_reported
            output_is_bytes_as_written
            output_is_whole_and_in_order
            much_output_at_once_is_whole
            a_slow_listener_makes_the_task_wait
            nobody_has_to_listen
            stdin_is_passed_on
            the_environment_is_clean
            the_pipeline_overrides_variables
            temporary_files_have_a_place
            the_working_directory_is_stable_and_empty_at_the_start
            tasks_see_each_others_files_in_volumes
            a_command_that_does_not_exist_is_named
            names_may_be_any_text
            a_cancelled_task_leaves_no_process
            a_cancelled_task_may_clean_up
            a_task_that_is_cancelled_before_it_starts_does_not_run
            dropping_a_run_ends_its_task
            a_process_that_never_stops_writing_does_not_keep_its_task
            closing_ends_running_tasks
            closing_does_not_wait_for_a_listener
            cancelling_does_not_wait_for_a_listener
        }
    };
    // Of `conformance`: what holds for tasks that have surroundings of their own.
    (drivers: $($with:tt)*) => {
        conforms! { $($with)*
            volumes_keep_modes_links_and_times
            a_volume_is_created_once
            many_tasks_run_at_the_same_time
            a_task_without_a_network_has_its_loopback_alone
        }
    };
    // Of `mounts`: what holds for every command.
    (places: $($with:tt)*) => {
        conforms! { $($with)*
            mounts_that_make_no_sense_are_refused
            a_volume_takes_the_place_of_the_directory
        }
    };
    // Of `mounts`: what holds where volumes are mounted and not linked.
    (mounts: $($with:tt)*) => {
        conforms! { $($with)*
            paths_are_relative_to_the_directory_of_the_task
            volumes_can_be_mounted_in_volumes
            volumes_can_be_mounted_below_one_in_the_place_of_the_directory
            a_read_only_volume_cannot_be_changed
            a_mount_below_a_read_only_volume_needs_its_directory
            tasks_with_volumes_see_their_directories_at_one_path
        }
    };
    // Of `conformance`: what holds where tasks are processes of one machine. In a container they end with it.
    (processes: $($with:tt)*) => {
        conforms! { $($with)*
            a_process_in_the_background_stays_until_the_end
        }
    };
    // All of `shells`.
    (shells: $($with:tt)*) => {
        conforms! { $($with)*
            a_shell_has_what_its_task_had
            a_shell_of_another_user_is_that_users
            a_shell_is_there_for_a_command_that_is_not
            a_shell_is_there_for_a_command_in_a_sandbox
            a_shell_shows_every_byte
            a_shell_leaves_nothing_running
            a_shell_ends_with_its_terminal
            a_shell_whose_terminal_is_stuck_ends_with_its_user
            a_sandbox_waits_for_a_shell
            a_place_is_free_when_it_is_discarded
            nothing_is_kept_that_was_not_to_be
            what_is_kept_goes_at_the_end
        }
    };
    // All of `sandboxes`.
    (sandboxes: $($with:tt)*) => {
        conforms! { $($with)*
            commands_share_a_place
            commands_run_at_the_same_time
            many_commands_run_at_the_same_time
            a_process_in_the_background_stays_until_the_sandbox_is_closed
            ending_a_command_leaves_nothing_of_it_and_everything_of_others
            a_closed_sandbox_runs_nothing
            closing_asks_before_it_ends
            the_end_of_the_driver_is_that_of_its_sandboxes
            a_sandbox_that_nobody_waits_for_is_not_opened
            what_is_wrong_with_a_sandbox_is_told
        }
    };
}
