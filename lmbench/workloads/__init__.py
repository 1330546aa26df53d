"""What is done to a subject, one file each; a workload measures and never judges, prints or stores."""
