from inference.waiting import wait_briefly

wait_briefly()  # as the program does
