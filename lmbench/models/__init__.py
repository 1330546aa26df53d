"""Language models, one file per architecture, all obeying the contract of lmbench.base.seams."""
