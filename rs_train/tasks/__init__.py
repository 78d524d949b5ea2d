"""What is optimised, one module a task; the loop is rs_train.loop."""
